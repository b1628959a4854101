"""Runs on disk: their directories, settings, records and checkpoints."""
