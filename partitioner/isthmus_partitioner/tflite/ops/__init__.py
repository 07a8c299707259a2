"""One module per family of ops; each adds its functions to the registry."""
