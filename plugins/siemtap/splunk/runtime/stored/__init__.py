"""What an input keeps from run to run: tokens, checkpoints, and what it reported."""
