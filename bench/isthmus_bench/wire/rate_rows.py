"""Rate control on a budget that steps: who keeps to it, and what that does to the answers.

The frames of a clip come at a fixed rate, each by itself (no differences), over a link whose rate
steps between what the finest rung needs and less than what the coarsest needs. The controller knows
the budget of each frame and the plan's figures, which come from other pictures. It stands beside
fixed rungs and a JPEG.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from isthmus import UNMEASURED, Candidate, Rung
from isthmus_bench.wire.cut_rows import CutRow
from isthmus_bench.wire.ours import OurTensor, SymbolsCodec, fitted
from isthmus_bench.wire.picture_rivals import PictureRival
from isthmus_bench.wire.subjects import Subject
from isthmus_bench.wire.video import Clip
from isthmus_edge.policy.rate import Budget, RateController

__all__ = ["RateRow", "measure_rate"]

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

FRAMES_A_STEP = 40
DEADLINE_PERIODS = 2.0  # a frame that has not arrived by then is late
# Budgets, from that of the coarsest allowed rung (0) to that of the finest (1); below 0, so much
# less than the coarsest: no rung fits.
STEPS = (1.2, 0.1, 0.6, -0.2, 1.2, 0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """One way to send the clip over the stepping link.

    `overshoot` is the mean of what frames took above their budget, over the budget; `over_budget`
    and `late` are shares of the frames; `changes` counts changes of the rung.
    """

    way: str
    frames: int
    bytes: float
    overshoot: float
    over_budget: float
    late: float
    agreement: float
    error: float
    changes: int


def measure_rate(
    subject: Subject, row: CutRow, clip: Clip, jpegs: Sequence[PictureRival], floor: float
) -> tuple[RateRow, ...]:
    """The controller, fixed rungs and JPEGs, with the budgets of `row`'s ladder."""
    stream = subject.on_pictures(clip.frames)
    tensor = fitted(subject.activations(row.cut, fitted=True).tensors[0])
    bench = _RateBench(stream, row, tensor, floor)
    rungs = {"rate control": bench.controlled()}
    rungs["finest rung"] = [0] * bench.frames
    rungs["coarsest allowed rung"] = [row.chosen] * bench.frames
    rows = [bench.ladder_row(way, chosen) for way, chosen in rungs.items()]
    return (*rows, *(bench.picture_row(jpeg, clip.frames) for jpeg in jpegs))


class _RateBench:
    """The clip's tensors in every rung, and the budgets of its frames."""

    def __init__(self, stream: Subject, row: CutRow, tensor: OurTensor, floor: float) -> None:
        self._stream, self._row, self._tensor, self._floor = stream, row, tensor, floor
        values = stream.activations(row.cut).tensors[0]
        self._symbols = [tensor.symbols(values, rung) for rung in range(len(tensor.ladder))]
        self._sizes = [
            [len(codec.encode(item)) for item in items]
            for codec, items in zip(map(SymbolsCodec, tensor.ladder), self._symbols, strict=True)
        ]
        self.frames = len(values)
        self._budgets = [self._budget(index) for index in range(self.frames)]

    def controlled(self) -> list[int]:
        """The controller's rung for each frame."""
        candidate = _candidate(self._row)
        controller = RateController([candidate])
        rungs = []
        for index, room in enumerate(self._budgets):
            rung = controller.choose(candidate, self._floor, Budget(link_bytes=room)).rung
            controller.learn(candidate.id, rung, self._sizes[rung][index])
            rungs.append(rung)
        return rungs

    def ladder_row(self, way: str, rungs: Sequence[int]) -> RateRow:
        """Send each frame at its rung."""
        sizes = [self._sizes[rung][index] for index, rung in enumerate(rungs)]
        decoded = np.stack(
            [
                self._tensor.values(self._symbols[rung][index][None], rung)[0]
                for index, rung in enumerate(rungs)
            ]
        )
        score = self._stream.score_cut(self._row.cut, [decoded])
        changes = sum(before != after for before, after in pairwise(rungs))
        return self._figures(way, sizes, score.agreement, score.error, changes)

    def picture_row(self, rival: PictureRival, frames: UInt8Array) -> RateRow:
        """Send the pictures instead."""
        payloads = [rival.encode(frame) for frame in frames]
        score = self._stream.score_pictures(np.stack([rival.decode(p) for p in payloads]))
        return self._figures(rival.name, [*map(len, payloads)], score.agreement, score.error, 0)

    def _figures(
        self, way: str, sizes: Sequence[int], agreement: float, error: float, changes: int
    ) -> RateRow:
        used = np.array(sizes) / np.array(self._budgets)
        return RateRow(
            way=way,
            frames=len(sizes),
            bytes=float(np.mean(sizes)),
            overshoot=float(np.maximum(used - 1, 0).mean()),
            over_budget=float((used > 1).mean()),
            late=float(np.mean(list(_late(used)))),
            agreement=agreement,
            error=error,
            changes=changes,
        )

    def _budget(self, index: int) -> float:
        """Bytes of frame `index`: a step of STEPS, by the plan's coarsest and finest rung."""
        place = STEPS[index // FRAMES_A_STEP % len(STEPS)]
        finest, coarsest = (self._row.rungs[rung].bytes for rung in (0, self._row.chosen))
        return coarsest + place * (coarsest if place < 0 else finest - coarsest)


def _late(used: NDArray[np.float64]) -> Iterator[bool]:
    """A first-in first-out link: each frame takes the share `used` of its period, and may wait."""
    free_at = 0.0
    for index, share in enumerate(used):
        free_at = max(free_at, float(index)) + share
        yield free_at - index > DEADLINE_PERIODS


def _candidate(row: CutRow) -> Candidate:
    rungs = tuple(
        Rung(
            encodings=(),
            figures=msgspec.structs.replace(
                UNMEASURED,
                payload_bytes=round(rung.bytes),
                payload_bytes_p95=round(rung.bytes_p95),
                agreement=rung.agreement,
                agreement_low=rung.agreement,
                agreement_high=rung.agreement,
                divergence=rung.error,
            ),
        )
        for rung in row.rungs
    )
    return Candidate(
        id=row.cut,
        cut=row.cut,
        precision="fp32",
        rungs=rungs,
        chosen=row.chosen,
        kept=True,
        reason="",
    )
