"""Inputs of a network: what ranges are fitted to, and what answers are compared on.

Calibration and evaluation never share a source: what was fitted to crops of a photograph looks
better on other crops of it than it is. Dividing items by their sources is done here, and where
there are too few sources for it, notes say what the figures are then worth.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from isthmus import ConfigError, TensorSpec
from isthmus_partitioner.runtime import AnyArray

__all__ = ["SampleSets", "Samples", "joined", "limited", "sets_of", "split_by_source"]

HELD_BACK = 0.2
EVALUATION = 0.5
FEW_ITEMS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Items for all inputs of a network.

    `arrays` maps the name of each input to [n,*shape] with the shape of its `TensorSpec` (the batch
    dimension is left out; a scalar input is [n]). `sources[i]` names what item i was taken from: a
    photograph, a recording, a file. Raises ConfigError if they do not fit each other.
    """

    arrays: Mapping[str, AnyArray]
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            if array.ndim < 1 or len(array) != len(self.sources):
                raise ConfigError(
                    f"input {name!r} has shape {list(array.shape)} for {len(self.sources)} items; "
                    "needed: one row for each item"
                )

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, chosen: slice | Sequence[int]) -> "Samples":
        index = chosen if isinstance(chosen, slice) else np.asarray(chosen, np.intp)
        rows = range(len(self))[chosen] if isinstance(chosen, slice) else chosen
        return Samples(
            {name: array[index] for name, array in self.arrays.items()},
            tuple(self.sources[row] for row in rows),
        )

    def feeds(self, specs: Sequence[TensorSpec]) -> Iterator[dict[str, AnyArray]]:
        """For each item, every input as the graph takes it: a batch of one."""
        for row in range(len(self)):
            yield {
                spec.name: self.arrays[spec.name][row : row + 1].reshape(spec.graph_shape)
                for spec in specs
            }


@dataclass(frozen=True, slots=True, eq=False)
class SampleSets:
    """Three sets, no two of which share a source - or `notes` that say where they had to.

    `fitted`: ranges, steps and biases. `held_back`: what was fitted is compared on it.
    `evaluation`: the figures of the plan. `are_real` is False for made-up inputs, whose agreement
    proves nothing.
    """

    fitted: Samples
    held_back: Samples
    evaluation: Samples
    notes: tuple[str, ...] = ()
    are_real: bool = True


def split_by_source(
    samples: Samples, *, held_back: float = HELD_BACK, evaluation: float = EVALUATION
) -> SampleSets:
    """Give each source as a whole to one of the three sets; the same samples, the same sets.

    `held_back` and `evaluation` are about the shares (0-1) of the items that these sets get; the
    fitted set gets the rest. Large sources are dealt first, each to the set that lacks most, equal
    ones in the order in which they appear. With two sources the held-back items are of the fitted
    ones' source, with one all are; `notes` say so.

    Raises ConfigError for no items, or shares that leave nothing to fit to.
    """
    shares = (1 - held_back - evaluation, held_back, evaluation)
    if min(shares) <= 0:
        raise ConfigError(
            f"shares of {held_back:g} held back and {evaluation:g} for evaluation leave none of "
            "the three sets something; allowed: above 0, and below 1 together"
        )
    _check_not_empty(samples)
    sources = _rows_by_source(samples.sources)
    if len(sources) >= len(shares):
        piles = _dealt(sources, shares)
        return _sets(samples, piles, _few(samples))
    if len(sources) == 2:
        calibration, judged = _dealt(sources, (1 - evaluation, evaluation))
        fitted, held = _in_order(calibration, (shares[0], held_back))
        return _sets(samples, [fitted, held, judged], (_two_sources(samples, fitted),))
    return _sets(samples, _in_order(list(range(len(samples))), shares), _one_source(samples))


def sets_of(
    calibration: Samples, evaluation: Samples, *, held_back: float = HELD_BACK / (1 - EVALUATION)
) -> SampleSets:
    """The three sets where calibration and evaluation are of different sources already.

    About `held_back` (0-1) of the calibration items are held back, by source as in
    `split_by_source`. ConfigError for no items.
    """
    _check_not_empty(calibration)
    _check_not_empty(evaluation)
    shares = (1 - held_back, held_back)
    sources = _rows_by_source(calibration.sources)
    if len(sources) > 1:
        fitted, held = _dealt(sources, shares)
        return SampleSets(calibration[fitted], calibration[held], evaluation)
    fitted, held = _in_order(list(range(len(calibration))), shares)
    note = _two_sources(calibration, fitted)
    return SampleSets(calibration[fitted], calibration[held], evaluation, (note,))


def joined(parts: Sequence[Samples]) -> Samples:
    """All items of parts that have the same inputs, in order."""
    names = parts[0].arrays
    return Samples(
        {name: np.concatenate([part.arrays[name] for part in parts]) for name in names},
        tuple(source for part in parts for source in part.sources),
    )


def limited(sources: Sequence[str], most: int) -> list[int]:
    """Which of so many items to take if `most` are enough: sources take turns; rows in order."""
    turns = zip_longest(*_rows_by_source(sources))
    taken = [row for turn in turns for row in turn if row is not None]
    return sorted(taken[:most])


def _check_not_empty(samples: Samples) -> None:
    if not len(samples):
        raise ConfigError("there are no items to fit to and to compare on; give one or more")


def _rows_by_source(sources: Sequence[str]) -> list[list[int]]:
    rows: dict[str, list[int]] = {}
    for row, source in enumerate(sources):
        rows.setdefault(source, []).append(row)
    return list(rows.values())


def _dealt(sources: Sequence[list[int]], shares: Sequence[float]) -> list[list[int]]:
    """Whole sources to piles of about these shares, none of which stays empty."""
    total = sum(map(len, sources))
    piles: list[list[int]] = [[] for _ in shares]
    ordered = sorted(sources, key=len, reverse=True)  # stable: equal ones as they appear
    for dealt, rows in enumerate(ordered):
        empty = [pile for pile in range(len(piles)) if not piles[pile]]
        is_last_chance = len(ordered) - dealt == len(empty)
        choices = empty if is_last_chance else range(len(piles))
        poorest = max(choices, key=lambda pile: (shares[pile] * total - len(piles[pile]), pile))
        piles[poorest].extend(rows)
    return [sorted(pile) for pile in piles]


def _in_order(rows: list[int], shares: Sequence[float]) -> list[list[int]]:
    """Consecutive rows for each share, at least one; all rows for each if there are too few."""
    if len(rows) < len(shares):
        return [rows for _ in shares]
    counts = [1] * len(shares)
    total = sum(shares)
    for _ in range(len(rows) - len(shares)):
        lacking = [s / total * len(rows) - c for s, c in zip(shares, counts, strict=True)]
        counts[lacking.index(max(lacking))] += 1
    ends = np.cumsum(counts).tolist()
    return [rows[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _sets(samples: Samples, piles: Sequence[list[int]], notes: tuple[str, ...]) -> SampleSets:
    fitted, held, judged = (samples[pile] for pile in piles)
    return SampleSets(fitted, held, judged, notes)


def _few(samples: Samples) -> tuple[str, ...]:
    if len(samples) >= FEW_ITEMS:
        return ()
    return (
        f"only {len(samples)} items in all: agreement is known but roughly, as its interval says; "
        f"give {FEW_ITEMS} or more, better 100",
    )


def _two_sources(samples: Samples, fitted: Sequence[int]) -> str:
    return (
        f"only source {samples.sources[fitted[0]]!r} to fit to: precisions were chosen on items "
        "like those that ranges were fitted to, and may do worse elsewhere; give inputs of three "
        "sources or more"
    )


def _one_source(samples: Samples) -> tuple[str, ...]:
    shared = (
        f" - even on the very same, for there are {len(samples)} in all" if len(samples) < 3 else ""
    )
    note = (
        f"one source ({samples.sources[0]!r}): agreement is measured on items like those that "
        f"ranges were fitted to{shared}, and looks better than it is; give inputs of other sources "
        "(other scenes, speakers, documents)"
    )
    return (note, *_few(samples))
