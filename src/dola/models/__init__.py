"""What is special about a model: its layout, its weights, and the tap on its layers."""
