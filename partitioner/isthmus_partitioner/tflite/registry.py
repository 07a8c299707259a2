"""Which function lowers which op; modules of the folder `ops` add themselves by a decorator."""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from isthmus_partitioner.tflite.step import Reads, Step

__all__ = ["Lowering", "find", "load", "lowers", "reads"]

Lowering = Callable[[Step], None]
_LOWERINGS: dict[str, Lowering] = {}
_READS: dict[str, Reads] = {}


def lowers(*kinds: str, reads: Reads = Reads.PLAIN) -> Callable[[Lowering], Lowering]:
    """Make a function the lowering of these ops.

    `reads` says in which layout they want their first input, so that an input of the graph can
    come in it. Ops of other domains than ONNX's own are named ``domain:op``.
    """

    def register(lowering: Lowering) -> Lowering:
        for kind in kinds:
            assert kind not in _LOWERINGS, f"two lowerings of {kind}"
            _LOWERINGS[kind], _READS[kind] = lowering, reads
        return lowering

    return register


def find(kind: str) -> Lowering | None:
    """The lowering of an op, None where there is none."""
    return _LOWERINGS.get(kind)


def reads(kind: str) -> Reads:
    """In which layout an op wants its first input."""
    return _READS.get(kind, Reads.PLAIN)


def load(package: ModuleType) -> None:
    """Import all modules of a package, in the order of their names."""
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        import_module(f"{package.__name__}.{module.name}")
