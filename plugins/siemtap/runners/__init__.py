"""What hosts the loop."""
