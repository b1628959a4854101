"""What a fit shows while it runs: the points of its curves, and in TensorBoard pictures, tables and hyperparameters."""
