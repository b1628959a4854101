"""Tasks: their columns, labels, files and metrics."""
