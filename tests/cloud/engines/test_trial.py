"""A provider is believed when its answers are those of the CPU on what looks like frames."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from isthmus import Bundle, ModelError, open_bundle
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine, OrtProgram
from isthmus_cloud.engines.seam import AnyArray, Value
from isthmus_cloud.engines.trial import (
    MOST_ERROR,
    is_faster,
    require_agreement,
    trial_feeds,
    worst_error,
)


class BentProgram(OrtProgram):
    """One whose outputs were tampered with."""

    bend: Callable[[AnyArray], AnyArray]

    def run(self, feeds: Mapping[str, Value]) -> Sequence[Value]:
        return [self.bend(np.asarray(value)) for value in super().run(feeds)]


class BentEngine(OrtEngine):
    """ONNX Runtime on the CPU, seen through `bend`."""

    def __init__(self, bend: Callable[[AnyArray], AnyArray]) -> None:
        super().__init__(Cores(1))
        self._bend = bend

    def load(self, path: Path) -> OrtProgram:
        program = super().load(path)
        program.__class__ = BentProgram
        vars(program)["bend"] = self._bend
        return program


def scaled(factor: float) -> Callable[[AnyArray], AnyArray]:
    """All values are so many times what they were."""
    return lambda value: np.multiply(value, np.float32(factor))


def agreement(bend: Callable[[AnyArray], AnyArray], bundle: Bundle) -> float:
    return require_agreement(BentEngine(bend), OrtEngine(Cores(1)), bundle)


def test_a_little_error_is_allowed_and_told(bundle: Bundle) -> None:
    assert agreement(lambda value: value, bundle) == 0.0
    assert 0.0005 < agreement(scaled(1.001), bundle) < 0.005


@pytest.mark.parametrize(
    "bend",
    [
        scaled(1.1),
        lambda value: np.full_like(value, np.nan),
        lambda value: value[:, :4],
        lambda value: value[::-1].copy() if value.ndim == 2 else value,
        lambda value: value.astype(np.float16).clip(-1e-3, 1e-3).astype(value.dtype),
    ],
    ids=["far", "no number", "shape", "items swapped", "clipped"],
)
def test_other_answers_are_refused(bend: Callable[[AnyArray], AnyArray], bundle: Bundle) -> None:
    with pytest.raises(ModelError):
        agreement(bend, bundle)


def test_what_neither_can_run_is_left_out(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: OrtProgram, __: Mapping[str, Value]) -> Sequence[Value]:
        raise ModelError("no branch for this")

    monkeypatch.setattr(OrtProgram, "run", refuse)
    assert require_agreement(OrtEngine(Cores(1)), OrtEngine(Cores(1)), bundle) == 0.0
    assert "the tail of input is not compared: no branch for this" in caplog.text
    with pytest.raises(ModelError, match="no branch for this"):
        require_agreement(OrtEngine(Cores(1)), OrtEngine(Cores(1)), bundle, of_all=True)
    assert is_faster(OrtEngine(Cores(1)), OrtEngine(Cores(1)), bundle)


@pytest.mark.parametrize("which", ["tiny", "wide"])
def test_invented_frames_are_what_the_manifest_says(
    which: str, tiny_bundle: Path, wide_bundle: Path
) -> None:
    bundle = open_bundle(tiny_bundle if which == "tiny" else wide_bundle, "cloud")
    count = 3 if bundle.manifest.batched else 1
    for cut in bundle.manifest.cuts:
        feeds = trial_feeds(bundle.manifest, cut, 3)
        assert list(feeds) == [name for tensor in cut.tensors for name in tensor.feeds]
        for tensor in cut.tensors:
            values = feeds[tensor.wire.name]
            assert values.dtype == tensor.wire.data_type
            items = 1 if tensor.wire.batch_axis is None else count
            assert values.size == items * tensor.wire.size
            assert values.dtype.kind == "b" or np.unique(values).size > min(values.size - 1, 4)
        assert all(
            np.array_equal(value, trial_feeds(bundle.manifest, cut, 3)[name])
            for name, value in feeds.items()
        )


class Clock:
    """Seconds that pass when an engine says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def passing(self, times_s: list[float]) -> BentEngine:
        """An engine whose runs of a whole tail (two parts) take these times, one after another."""
        parts = iter([time_s for time_s in times_s for _ in range(2)])

        def pass_on(value: AnyArray) -> AnyArray:
            self.now_s += next(parts) / 2
            return value

        return BentEngine(pass_on)


@pytest.mark.parametrize(
    ("mine_s", "theirs_s", "faster"),
    [
        ([9, 1, 1, 1], [2, 2, 2, 2], True),
        ([1, 2, 2, 2], [9, 1, 1, 1], False),
        ([9, 9, 1, 9], [2, 2, 2, 2], True),
        ([1, 3, 3, 3], [2, 9, 2, 9], False),
    ],
    ids=["the first warms up", "slower", "one quiet run is enough", "for the other, too"],
)
def test_the_best_of_several_runs_counts(
    mine_s: list[float], theirs_s: list[float], faster: bool, bundle: Bundle
) -> None:
    clock = Clock()
    pair = clock.passing(mine_s), clock.passing(theirs_s)
    assert is_faster(*pair, bundle, clock) is faster


def test_errors_are_counted_in_the_answers_own_norm() -> None:
    wanted = [np.full(4, 10.0, np.float32)]
    assert worst_error([np.full(4, 10.5, np.float32)], wanted) == pytest.approx(0.05)
    assert worst_error([np.full(4, 10.0, np.float64)], wanted) == float("inf")
    labels = [np.array([1, 2, 3, 4])]
    assert worst_error([np.array([1, 2, 3, 5])], labels) == 0.25 > MOST_ERROR
    zeros = [np.zeros(4, np.float32)]
    assert worst_error(zeros, zeros) == 0.0
    endless = [np.array([np.inf, np.nan], np.float32)]
    assert worst_error(endless, endless) == 0.0
    assert worst_error([np.array([np.inf, 1], np.float32)], endless) == float("inf")
