"""How long an agent's imports take, in several environments that take turns.

Processor time of fresh interpreters whose files are in memory: what a user waits on an idle board.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from isthmus_bench.edge.install import InstallError, said
from isthmus_bench.edge.spread import Spread

__all__ = ["Import", "Place", "import_times"]

_ROOM = "isthmus_edge"
_TIMED = """
import sys, time
begun_s = time.process_time()
for name in sys.argv[1:]:
    __import__(name)
print(1e3 * (time.process_time() - begun_s))
"""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Place:
    """An environment's Python, and the module of the runtime that an agent imports there."""

    python: Path
    module: str


@dataclass(frozen=True, slots=True)
class Import:
    """Over fresh interpreters, ms: of the device's room, and with the runtime behind it."""

    edge_ms: Spread
    with_runtime_ms: Spread


def import_times(
    places: Mapping[Key, Place], repeats: int
) -> tuple[dict[Key, Import], dict[Key, str]]:
    """In each of `repeats` rounds every place once, with the runtime and without.

    And why some could not be timed. A round before these is not counted: it brings files into
    memory and writes byte code.
    """
    problems = {key: why for key, place in places.items() if (why := _problem(place)) is not None}
    sound = {key: place for key, place in places.items() if key not in problems}
    taken: dict[Key, tuple[list[float], list[float]]] = {key: ([], []) for key in sound}
    for _ in range(repeats):
        for key, place in sound.items():
            alone, together = taken[key]
            alone.append(_ms(place.python, _ROOM))
            together.append(_ms(place.python, _ROOM, place.module))
    times = {key: Import(*(Spread.of(each) for each in both)) for key, both in taken.items()}
    return times, problems


def _problem(place: Place) -> str | None:
    try:
        _ms(place.python, _ROOM, place.module)
    except InstallError as error:
        return str(error)
    return None


def _ms(python: Path, *modules: str) -> float:
    return float(said(python, _TIMED, *modules))
