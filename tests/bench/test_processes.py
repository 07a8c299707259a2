"""The demo's processes: what they answer, how they die, and that none is left behind."""

from collections.abc import Iterator
from pathlib import Path

import onnx
import psutil
import pytest
from tests.commands import PATIENCE_S
from tests.tinybundle import PICTURE, PROBABILITIES, _early, _late, _model, _value

from isthmus import LinkError, open_bundle
from isthmus_bench import processes
from isthmus_bench.processes import CloudProcess, EdgeProcess


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "no.bundle"


def test_the_cloud_says_where_it_listens_and_ends_with_its_context(tiny_bundle: Path) -> None:
    before = children()
    with CloudProcess(tiny_bundle) as cloud:
        assert cloud.announcement.startswith(f"listening on {cloud.address} ")
        assert len(children() - before) == 1
    assert children() <= before


def test_a_cloud_that_cannot_start_is_named_and_its_message_is_shown(
    nowhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LinkError, match="the cloud ended with status 1"):
        CloudProcess(nowhere)
    assert "no bundle here" in capfd.readouterr().err


def test_a_cloud_that_says_nothing_is_named(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_S", 0.0)
    with pytest.raises(LinkError, match="the cloud said nothing"):
        CloudProcess(tiny_bundle)


def test_a_device_that_cannot_start_is_named_and_its_message_is_shown(
    nowhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with EdgeProcess({"bundle": nowhere}) as device, pytest.raises(LinkError, match="the device"):
        device.do("factor")
    assert "--cloud" in capfd.readouterr().err  # the flags that it misses


def test_an_order_may_take_as_much_longer_as_is_known_beforehand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "ANSWER_S", 0.0)
    with EdgeProcess({"to": "127.0.0.1:1"}, module="isthmus_bench.relay") as device:
        with pytest.raises(processes.SilentProcessError, match="for 0 s"):
            device.do("anything")  # an interpreter that starts has not answered yet
        assert "listen" in device.do("anything", busy_s=PATIENCE_S)


def test_the_device_measures_what_it_is_told_to(tiny_bundle: Path, tmp_path: Path) -> None:
    unsplit = _model(_early(0) + _late(0), [_value(PICTURE)], [_value(PROBABILITIES)])
    onnx.save(unsplit, tmp_path / "unsplit.onnx")
    names = [c.id for c in open_bundle(tiny_bundle, "device").manifest.candidates]
    with (
        CloudProcess(tiny_bundle) as cloud,
        EdgeProcess(
            {
                "bundle": tiny_bundle,
                "cloud": cloud.address,
                "model": tmp_path / "unsplit.onnx",
                "pictures": 6,
                "factor": 3.5,
            }
        ) as device,
    ):
        assert device.do("factor") == {"factor": 3.5}
        agreement = device.do("agreement", candidates=names)["agreement"]
        assert list(agreement) == names
        assert agreement["input-raw"] == 1.0
        measured = device.do("measure", candidate="input-raw")
        assert measured["payload_bytes"] == 32 * 32 * 3
        assert min(measured["latency_ms"], measured["throughput_fps"]) > 0
        fp32 = device.do("measure-fp32")
        assert fp32["payload_bytes"] == 0
        assert fp32["latency_ms"] > 0
        choice = device.do("choose")
        assert {choice["latency"], choice["throughput"]} <= set(names)
        run_live(device)
        with pytest.raises(LinkError, match="the device reports: no candidate 'nonsense'"):
            device.do("measure", candidate="nonsense")


def run_live(device: EdgeProcess) -> None:
    device.do("live")
    first = device.watch(PATIENCE_S)
    assert first is not None
    assert {"at", "latency_ms", "candidate", "place"} <= set(first)
    stats = device.do("stop")["live"]
    assert stats["accepted"] == stats["answered_cloud"] + stats["answered_device"]
    assert stats["accepted"] == len(device.frames)
