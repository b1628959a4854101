"""What a fit shows while it runs: points of its curves, and TensorBoard's pictures, tables and hyperparameters."""
