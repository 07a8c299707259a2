"""What is raised where a graph has no faithful TFLite form."""

from isthmus import ModelError

__all__ = ["NotLoweredError"]


class NotLoweredError(ModelError):
    """A part of a graph cannot be said in TFLite; the message names the node, its op and why."""
