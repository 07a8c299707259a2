"""The network as a graph: read, checked, simplified, taken apart and put together."""
