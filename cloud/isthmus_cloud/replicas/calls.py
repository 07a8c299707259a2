"""What crosses between a front end and a replica: plain bytes, which nothing unpickles.

Both run the same release, as is checked when they meet (`Description.release`).
"""

from collections.abc import Mapping
from importlib.metadata import version

import msgspec

from isthmus import IsthmusError, KeyFrameNeededError, ModelError, WireError
from isthmus_cloud.answering.jobs import TooLateError
from isthmus_cloud.answering.packed import Packed, Plain

__all__ = [
    "Asked",
    "Call",
    "Description",
    "Outcome",
    "PartFacts",
    "Problem",
    "Reply",
    "Run",
    "error_of",
    "problem_of",
    "release",
]

# The most particular first: an error is what its first class here says.
_KINDS: Mapping[str, type[IsthmusError]] = {
    "key frame needed": KeyFrameNeededError,
    "wire": WireError,
    "too late": TooLateError,
    "model": ModelError,
}


class PartFacts(msgspec.Struct, frozen=True):
    """What a front end has to know of a part that it does not hold; see `seam.Program`, and
    `BatchTimes` for what was measured."""

    inputs: dict[str, str]
    outputs: tuple[str, ...]
    sizes: tuple[int, ...]
    measured: tuple[int, ...]
    took_ms: tuple[float, ...]


class Description(msgspec.Struct, frozen=True):
    """A replica of a spec: its parts by file, and what computes there."""

    release: str
    provider: str
    parts: dict[str, PartFacts]


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One frame or item; `left_ms` until its deadline, None without one."""

    cut: str
    packed: Packed
    left_ms: float | None = None


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A batch. Frames of other cuts than the first one's may join it on its way."""

    asked: list[Asked]


class Problem(msgspec.Struct, frozen=True, array_like=True):
    """An error that a frame ended in."""

    kind: str
    text: str


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """Of one frame: what its tail answers, or why there is none."""

    outputs: dict[str, Plain] = {}
    decode_ms: float = 0.0
    run_ms: float = 0.0
    batch: int = 0
    problem: Problem | None = None


class Run(msgspec.Struct, frozen=True, array_like=True):
    """A part was run on the frames at these places of the call."""

    part: str
    places: list[int]
    took_ms: float


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """In the order of the call; `replica` is who has answered."""

    replica: str
    outcomes: list[Outcome]
    runs: list[Run]


def release() -> str:
    """The version of Isthmus that runs here."""
    return version("isthmus")


def problem_of(error: Exception) -> Problem:
    """What crosses of an error; of one that nobody has foreseen, that it is a failure there."""
    for kind, known in _KINDS.items():
        if isinstance(error, known):
            return Problem(kind, str(error))
    return Problem("model", f"{type(error).__name__}: {error}")


def error_of(problem: Problem) -> IsthmusError:
    """The error that has crossed."""
    return _KINDS.get(problem.kind, ModelError)(problem.text)
