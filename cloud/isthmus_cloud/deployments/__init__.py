"""Which versions of which models are served."""
