"""What a task is: its columns, labels, files and metrics."""
