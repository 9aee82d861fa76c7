"""What the contrastive head is plugged into."""
