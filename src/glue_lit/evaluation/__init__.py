"""Metrics, calibration, significance tests and the report."""
