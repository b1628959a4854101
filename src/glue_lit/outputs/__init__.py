"""What leaves a run: predictions, models, leaderboard files."""
