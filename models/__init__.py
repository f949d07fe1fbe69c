"""What is learned: one folder per family, and the lifecycle they share."""
