"""Outputs of a run: predictions, exported models, leaderboard files."""
