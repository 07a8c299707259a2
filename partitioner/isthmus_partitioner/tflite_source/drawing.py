"""What a drawing function is."""

from collections.abc import Callable

from isthmus_partitioner.tflite_source.scope import Scope

__all__ = ["Draw"]

Draw = Callable[[Scope], None]
