"""Long walks through a state machine's rules, drawn by weight.

Hypothesis looks for short stories, and leaves out rules to find odd ones; a walk is one long story
in which everything happens, most often what keeps it going.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import TypeVar

Machine = TypeVar("Machine")
Move = Callable[[Machine, Random], object]


def walk(
    machine: Machine,
    moves: Mapping[Move[Machine], int],
    check: Callable[[Machine], object],
    *,
    seed: int,
    steps: int,
) -> None:
    """`check` after each move; the seed is in the traceback's locals."""
    random = Random(seed)
    for move in random.choices([*moves], [*moves.values()], k=steps):
        move(machine, random)
        check(machine)
