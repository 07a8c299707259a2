"""Subjects: real networks on real inputs, whose cut tensors every codec of the bench is given.

A subject runs the fp32 head up to a cut, takes the tensors back as some codec left them, runs the
fp32 tail and says how far the answer is from that of the unsplit network.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError
from isthmus_bench.wire.cuts import CutNetwork, CutPlace
from isthmus_bench.wire.scores import Score
from isthmus_bench.wire.suite import SUITE, Recipe
from isthmus_models.drawn import Part
from isthmus_partitioner.runtime import (
    AnyArray,
    Session,
    all_cores,
    interleaved_ms,
    open_session,
    run_batches,
)

__all__ = ["SUBJECT_NAMES", "CutTensors", "Subject", "subjects"]

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

SUBJECT_NAMES = tuple(SUITE)

_HEAD_ROUNDS = 11
_BYTES_A_TOKEN = 2  # vocabularies have fewer than 65,536 pieces


@dataclass(frozen=True, slots=True)
class CutTensors:
    """What crosses at a cut: for each tensor an array [n,*shape], in the order of the cut.

    `mac_share` (0-1) of the multiply-accumulates lie before it.
    """

    model: str
    cut: str
    mac_share: float
    tensors: tuple[FloatArray, ...]


class Subject:
    """One network, its inputs, and its cuts in order of depth.

    Holds the inputs, the answers to them and the two sessions that were last used; activations
    are computed anew each time they are asked for. Raises ConfigError if a package of it is not
    installed and ModelError if what it holds is damaged or another version.
    """

    def __init__(self, recipe: Recipe, *, evaluation: int = 48, calibration: int = 24) -> None:
        self.name = recipe.name
        self._recipe = recipe
        self._calibration = calibration
        self._network = CutNetwork(recipe.make())
        self._inputs = recipe.inputs("evaluation", evaluation)
        self._input_name = self._network.model.graph.input[0].name
        self._places = {cut: self._network.place(cut, t) for cut, t in recipe.cuts.items()}
        self._tail: tuple[CutPlace, Session] | None = None

    def on_pictures(self, pictures: UInt8Array) -> "Subject":
        """The same network and calibration with other evaluation inputs, uint8 [n,H,W,3].

        ConfigError if it reads no pictures, or pictures of another size.
        """
        if self.pictures is None:
            raise ConfigError(f"{self.name} reads no pictures; choose a network that does")
        wanted, found = self.pictures.shape[1:], pictures.shape[1:]
        if found != wanted or pictures.dtype != np.uint8:
            raise ConfigError(
                f"{self.name} reads pictures uint8 {list(wanted)}, "
                f"not {pictures.dtype} {list(found)}; scale them"
            )
        twin = copy(self)
        twin._inputs, twin._tail = pictures, None
        for known in ("_reference", "_heads_ms"):
            vars(twin).pop(known, None)
        return twin

    @property
    def cuts(self) -> tuple[CutPlace, ...]:
        """Where it is cut, with the share of the work that lies before."""
        return tuple(self._places.values())

    @property
    def pictures(self) -> UInt8Array | None:
        """The evaluation inputs, uint8 RGB [n,H,W,3]; None if it reads no pictures."""
        return cast(UInt8Array, self._inputs) if self._inputs.dtype == np.uint8 else None

    @property
    def input_bytes(self) -> int:
        """What one input weighs as it is: a byte for a pixel's channel, two for a token."""
        size = int(np.prod(self._inputs.shape[1:]))
        return size if self.pictures is not None else size * _BYTES_A_TOKEN

    def activations(self, cut: str, *, fitted: bool = False) -> CutTensors:
        """The cut's tensors for the evaluation inputs, or for the calibration inputs if `fitted`.

        Whatever is fitted (a step, an order of channels, a table) is to come from the latter: the
        two share no source.
        """
        place = self._place(cut)
        inputs = self._recipe.inputs(_part(fitted), self._calibration) if fitted else self._inputs
        head = open_session(self._network.head(place), threads=all_cores())
        results = run_batches(head, {self._input_name: inputs})
        tensors = cast(tuple[FloatArray, ...], tuple(results))
        return CutTensors(self.name, cut, place.mac_share, tensors)

    def score_cut(self, cut: str, tensors: Sequence[FloatArray]) -> Score:
        """The score of the tail's answers to decoded tensors [n,*shape], one for each of the cut.

        They belong to the first n evaluation inputs.
        """
        place = self._place(cut)
        feeds = dict(zip(place.tensors, tensors, strict=True))
        return self._scored(run_batches(self._tail_session(place), feeds)[0])

    def score_pictures(self, pictures: UInt8Array) -> Score:
        """The score of the whole network's answers to decoded pictures uint8 [n,H,W,3].

        They stand for the first n evaluation inputs. ConfigError if it reads no pictures.
        """
        if self.pictures is None:
            raise ConfigError(f"{self.name} reads no pictures; score one of its cuts")
        return self._scored(self._answers(pictures))

    def head_ms(self, cut: str) -> float:
        """Thread CPU time of the fp32 head for one input, on one thread.

        The median of rounds in which the heads of all cuts take turns.
        """
        return self._heads_ms[self._place(cut).name]

    @cached_property
    def _heads_ms(self) -> Mapping[str, float]:
        feed = {self._input_name: self._inputs[:1]}
        heads = {
            place.name: open_session(self._network.head(place), threads=1) for place in self.cuts
        }
        runs = {name: partial(head.run, None, feed) for name, head in heads.items()}
        return interleaved_ms(runs, _HEAD_ROUNDS, time.thread_time)

    @cached_property
    def _whole(self) -> Session:
        return open_session(self._network.model, threads=all_cores())

    @cached_property
    def _reference(self) -> AnyArray:
        return self._answers(self._inputs)

    def _answers(self, inputs: AnyArray) -> AnyArray:
        return run_batches(self._whole, {self._input_name: inputs})[0]

    def _scored(self, answers: AnyArray) -> Score:
        return self._recipe.score(self._reference[: len(answers)], answers)

    def _tail_session(self, place: CutPlace) -> Session:
        if self._tail is None or self._tail[0] != place:
            self._tail = (place, open_session(self._network.tail(place), threads=all_cores()))
        return self._tail[1]

    def _place(self, cut: str) -> CutPlace:
        try:
            return self._places[cut]
        except KeyError:
            known = ", ".join(self._places)
            raise ConfigError(f"{self.name} has no cut {cut!r}; known: {known}") from None


def subjects(
    names: Sequence[str] | None = None, *, evaluation: int = 48, calibration: int = 24
) -> Iterator[Subject]:
    """The subjects of these names, or all, each made when its turn comes.

    `evaluation` and `calibration` say how many inputs of each kind. ConfigError, at once, for a
    name that is not one of SUBJECT_NAMES.
    """
    chosen = SUBJECT_NAMES if names is None else tuple(names)
    for name in chosen:
        if name not in SUITE:
            raise ConfigError(f"no subject is called {name!r}; known: {', '.join(SUBJECT_NAMES)}")
    return (Subject(SUITE[name], evaluation=evaluation, calibration=calibration) for name in chosen)


def _part(fitted: bool) -> Part:
    return "calibration" if fitted else "evaluation"
