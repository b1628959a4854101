"""What a run has learned, as numbers, pictures and one page; nothing here imports torch."""
