"""What people do around a training run."""
