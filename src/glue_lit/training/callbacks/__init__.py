"""What happens beside training: checkpoints, the run directory, progress, signals."""
