"""The account of the faults can tell what is wrong: each of its figures can be above 0."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tests.integration.faults.conftest import pytest_runtest_makereport
from tests.integration.faults.lying import Overloaded, lying
from tests.integration.faults.raw_device import End, tally_of
from tests.integration.faults.tally import Tally
from tests.integration.faults.traffic import opened

from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.pipeline import Pipeline


def test_frames_that_the_agent_ends_twice_are_counted(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Pipeline._end

    def twice(pipeline: Pipeline, frame: Frame, *how: object) -> None:
        for _ in range(2 if frame.sequence % 2 else 1):
            end(pipeline, frame, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "_end", twice)
    with lying(tiny_bundle, Overloaded()) as address, opened(tiny_bundle, address) as traffic:
        traffic.send(4)
        tally = traffic.tally()
        with pytest.raises(AssertionError, match="twice=2"):
            traffic.assert_settled(tally)
    assert (tally.accepted, tally.cloud + tally.device, tally.twice) == (4, 4, 2)


@pytest.mark.parametrize(
    ("ends", "tally"),
    [
        ([(2, "BAD"), (1, "result")], Tally(2, 1, 0, 1)),
        ([(1, "result")], Tally(2, 1, 0, 0, lost=1)),
        ([(1, "result"), (2, "BAD"), (1, "BAD")], Tally(2, 1, 0, 1, twice=1)),
        ([(1, "result"), (2, "BAD"), (3, "result")], Tally(2, 1, 0, 1, wrong=1)),
    ],
)
def test_the_tally_of_a_raw_device_is_made_of_what_came(ends: list[End], tally: Tally) -> None:
    assert tally_of(2, ends) == tally


@pytest.mark.parametrize(
    ("outcomes", "noted"),
    [
        (("passed", "passed", "passed"), ["passed"]),
        (("passed", "passed", "failed"), ["failed"]),
        (("passed", "failed", "passed"), ["failed"]),
        (("passed", "failed", "failed"), ["failed"]),
        (("failed", None, "passed"), ["failed"]),
        (("skipped", None, "passed"), []),
    ],
)
def test_a_run_is_written_down_once_with_the_worst_of_its_outcomes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: tuple[str | None, ...],
    noted: list[str],
) -> None:
    file = tmp_path / "tally"
    file.touch()
    monkeypatch.setenv("ISTHMUS_TALLY", str(file))
    marker = SimpleNamespace(args=("a fault",))
    item = SimpleNamespace(stash=pytest.Stash(), get_closest_marker=lambda name: marker)
    for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=True):
        if outcome is not None:
            report = SimpleNamespace(when=when, outcome=outcome)
            hook = pytest_runtest_makereport(
                cast(pytest.Item, item), cast(pytest.CallInfo[None], 0)
            )
            next(hook)
            with pytest.raises(StopIteration):
                hook.send(cast(pytest.TestReport, report))
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line["outcome"] for line in lines] == noted
