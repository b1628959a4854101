"""A run's results as numbers, figures and one page; nothing here imports torch."""
