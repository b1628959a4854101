"""From a source of rows to batches of tensors."""
