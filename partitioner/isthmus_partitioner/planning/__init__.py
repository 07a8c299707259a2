"""From cuts to candidates with measured figures, and which of them a plan keeps."""
