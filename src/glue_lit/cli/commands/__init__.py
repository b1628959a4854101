"""The commands around a training run."""
