"""Where a network can be divided, and which of these cuts are best at some bandwidth."""
