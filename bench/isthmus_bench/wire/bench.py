"""`isthmus bench wire`: our codec beside every other on real cut tensors, in one run, one core."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus import ConfigError, describe_machine
from isthmus_bench.fuzz.fuzzing import Batch
from isthmus_bench.fuzz.workers import Run, batches
from isthmus_bench.starvation import StolenTime
from isthmus_bench.wire.cut_rows import CutRow, measure_cut
from isthmus_bench.wire.picture_rivals import picture_rivals
from isthmus_bench.wire.picture_rows import (
    EqualRow,
    PictureFigures,
    equal_rows,
    measure_pictures,
)
from isthmus_bench.wire.rate_rows import RateRow, measure_rate
from isthmus_bench.wire.rivals import tensor_rivals
from isthmus_bench.wire.stream_rows import StreamRow, measure_clip
from isthmus_bench.wire.subjects import SUBJECT_NAMES, Subject, subjects
from isthmus_bench.wire.video import clips, real_clip

__all__ = ["WireBenchConfig", "WireBenchResult", "run_wire_bench"]

Say = Callable[[str], None]

# Videos and rate control run on one network, at the cuts that a device would choose.
STREAMED = "efficientnet-lite0"
STREAM_CUTS = ("b07", "b14")
RATE_CUT, RATE_CLIP = "b07", "bikes"
RATE_JPEGS = ("jpeg 4:2:0 q75", "jpeg 4:2:0 q95")


@dataclass(frozen=True, slots=True, kw_only=True)
class WireBenchConfig:
    """What is measured; `floor` is the agreement that chooses the rung, as in a plan.

    `inputs` are evaluation inputs a model, `frames` those of a clip (0: no video), `fuzz_frames`
    mutated frames for the decoder (0: none).
    """

    models: tuple[str, ...] = SUBJECT_NAMES
    floor: float = 0.95
    inputs: int = 48
    frames: int = 60
    fuzz_frames: int = 20_000

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in SUBJECT_NAMES]
        if unknown or not self.models:
            raise ConfigError(
                f"no model is called {unknown[0] if unknown else ''!r}; "
                f"known: {', '.join(SUBJECT_NAMES)}"
            )
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"floor is {self.floor}; allowed: 0-1")
        if self.inputs < 3 or self.frames < 0 or self.fuzz_frames < 0:
            raise ConfigError("inputs must be 3 or more, frames and fuzz_frames 0 or more")


@dataclass(frozen=True, slots=True)
class FuzzResult:
    """Mutated frames that were tried, and those that did what they should not."""

    frames: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WireBenchResult:
    """All figures of one run."""

    machine: str
    stolen_share: float
    floor: float
    inputs: int
    cuts: tuple[CutRow, ...]
    pictures: tuple[PictureFigures, ...]
    equal: tuple[EqualRow, ...]
    streams: tuple[StreamRow, ...]
    rate: tuple[RateRow, ...]
    fuzz: FuzzResult


def run_wire_bench(config: WireBenchConfig, say: Say) -> WireBenchResult:
    """Measure everything; `say` gets a line for each step of the long work.

    ConfigError if a package of the extra `wire-bench` is missing.
    """
    stolen = StolenTime()
    cuts: list[CutRow] = []
    pictures: list[PictureFigures] = []
    equal: list[EqualRow] = []
    streams: list[StreamRow] = []
    rate: list[RateRow] = []
    for subject in subjects(config.models, evaluation=config.inputs):
        rows = _cuts(subject, config, say)
        cuts += rows
        if subject.pictures is not None:
            say(f"{subject.name}: sending the pictures instead")
            found = measure_pictures(subject, picture_rivals())
            pictures += found
            equal += [row for cut in rows for row in equal_rows(cut, found)]
        if subject.name == STREAMED and config.frames:
            streams += _streams(subject, config, say)
            rate += _rate(subject, rows, config, say)
    say(f"decoding {config.fuzz_frames} mutated frames")
    return WireBenchResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        floor=config.floor,
        inputs=config.inputs,
        cuts=tuple(cuts),
        pictures=tuple(pictures),
        equal=tuple(equal),
        streams=tuple(streams),
        rate=tuple(rate),
        fuzz=_fuzzed(config.fuzz_frames),
    )


def _cuts(subject: Subject, config: WireBenchConfig, say: Say) -> list[CutRow]:
    rivals = tensor_rivals()
    rows = []
    for place in subject.cuts:
        say(f"{subject.name}: cut {place.name}, {place.mac_share:.0%} of the MACs, every codec")
        rows.append(measure_cut(subject, place.name, rivals, config.floor))
    return rows


def _streams(subject: Subject, config: WireBenchConfig, say: Say) -> list[StreamRow]:
    rows = []
    for clip in clips(config.frames, _size(subject)):
        for cut in STREAM_CUTS:
            say(f"{subject.name}: the clip {clip.name} at cut {cut}, and as H.264")
            rows.append(measure_clip(subject, cut, clip))
    return rows


def _rate(
    subject: Subject, rows: Sequence[CutRow], config: WireBenchConfig, say: Say
) -> tuple[RateRow, ...]:
    say(f"{subject.name}: rate control on a stepping budget")
    row = next(row for row in rows if row.cut == RATE_CUT)
    jpegs = [rival for rival in picture_rivals() if rival.name in RATE_JPEGS]
    clip = real_clip(RATE_CLIP, 4 * config.frames, _size(subject))
    return measure_rate(subject, row, clip, jpegs, config.floor)


def _fuzzed(frames: int) -> FuzzResult:
    total = Batch()
    if frames:
        for batch in batches(Run(seed=0, frames=frames)):
            total.add(batch)
    return FuzzResult(total.outcomes.total(), len(total.failures))


def _size(subject: Subject) -> int:
    assert subject.pictures is not None
    return int(subject.pictures.shape[1])
