"""What runs tails."""
