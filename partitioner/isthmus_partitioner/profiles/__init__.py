"""What each layer costs on a machine."""
