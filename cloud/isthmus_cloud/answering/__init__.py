"""From a frame to its result."""
