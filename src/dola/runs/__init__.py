"""Plan, execute, keep records, summarise: one run over a task's examples. No torch in this room."""
