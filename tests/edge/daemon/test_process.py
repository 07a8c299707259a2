"""The daemon as a process of its own: signals, reloads, sockets, disks that fail."""

import json
import shutil
import signal
import socket
from pathlib import Path

import pytest
from tests.commands import Command, until
from tests.edge.daemon.files import RunningDaemon, put_picture, write_config

PICTURES = 60

DELETING = 'when_done = "delete"\n[output]'


@pytest.fixture
def half_copied(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The manifest is there, and a part of one of the files."""
    copy = shutil.copytree(tiny_bundle, tmp_path / "half.bundle")
    segment = copy / "device" / "segment-1.onnx"
    segment.write_bytes(segment.read_bytes()[:100])
    return copy


def test_sigterm_in_mid_frame_answers_or_leaves_every_picture_and_ends_with_0(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, tiny_bundle, '[endpoint]\nunix = "oip.sock"')
    config.write_text(config.read_text().replace("[output]", DELETING))
    for index in range(PICTURES):
        put_picture(tmp_path / "in", f"{index:03}.png", index % 4)
    with RunningDaemon(config) as daemon:
        until(lambda: bool(daemon.answers()), "the first answer")
        ended = daemon.told(signal.SIGTERM)
        assert ended.status == 0, ended.err
        lines = [json.loads(line) for line in daemon.answers()]
    left = {path.name for path in (tmp_path / "in").iterdir()}
    answered = [line["item"] for line in lines]
    assert all("top" in line for line in lines)
    assert len(answered) == len(set(answered)), "twice"
    assert left | set(answered) == {f"{index:03}.png" for index in range(PICTURES)}
    assert not left & set(answered)
    assert not (tmp_path / "control.sock").exists()
    assert not (tmp_path / "oip.sock").exists()
    events = [json.loads(line)["event"] for line in ended.err.splitlines()]
    assert events[0] == "starting"
    assert events[-1] == "stopped"


def test_a_reload_that_cannot_be_is_refused_and_a_good_one_loses_nothing(
    tiny_bundle: Path,
    other_bundle: Path,
    half_copied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        config = write_config(tmp_path, tiny_bundle)
        with RunningDaemon(config) as daemon:

            def reloaded() -> None:
                """Tell it to; until it has said that it is ready again."""
                daemon.process.send_signal(signal.SIGHUP)
                told = [""]
                while not told[0].startswith("RELOADING=1"):
                    told.append(manager.recv(4096).decode())
                    told = told[-1:]
                while not manager.recv(4096).decode().startswith("READY=1"):
                    pass

            before = daemon.status().bundle
            config.write_text("[agent]\nbundel = 'x'\n")
            reloaded()
            assert "'bundel'" in (daemon.status().reload_fault or "")
            write_config(tmp_path, half_copied)
            reloaded()
            assert "segment-1.onnx" in (daemon.status().reload_fault or "")
            assert daemon.status().bundle == before
            put_picture(tmp_path / "in", "a.png")
            until(lambda: len(daemon.answers()) == 1, "the old agent answers")

            write_config(tmp_path, other_bundle)
            put_picture(tmp_path / "in", "b.png")
            reloaded()
            put_picture(tmp_path / "in", "c.png")
            until(lambda: len(daemon.answers()) == 3, "both agents have answered")
            status = daemon.status()
            assert (status.reloads, status.reload_fault) == (1, None)
            assert status.bundle != before
            assert status.counts is not None
            assert (status.counts.accepted, status.counts.errors) == (3, 0)
            ended = daemon.told(signal.SIGTERM)
        assert ended.status == 0
        said = manager.recv(4096).decode()
        while not said.startswith("STOPPING=1"):
            said = manager.recv(4096).decode()


def test_an_output_that_fails_is_told_and_answers_go_on_where_they_can(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    """As on a disk that is full, or read-only."""
    config = write_config(tmp_path, tiny_bundle)
    config.write_text(
        config.read_text().replace('file = "answers.jsonl"', 'file = "/dev/full"\nstdout = true')
    )
    put_picture(tmp_path / "in", "a.png")
    with RunningDaemon(config, "--log-format", "text") as daemon:
        put_picture(tmp_path / "in", "b.png")
        assert json.loads(daemon.line("b.png"))["place"] == "device"
        output = daemon.status().output
        ended = daemon.told(signal.SIGINT)
    assert ended.status == 0
    assert output is not None
    assert (output.written, output.unwritten) == (1, 0)
    assert "/dev/full" in (output.fault or "")
    assert ended.err.count("output_fails") == 1


def test_a_daemon_refuses_to_start_with_what_cannot_be_used(
    tiny_bundle: Path, half_copied: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, half_copied)
    with Command("edge", "--config", config) as daemon:
        ended = daemon.ended()
    assert ended.status == 1
    assert "segment-1.onnx" in ended.err.splitlines()[-1]
    assert not (tmp_path / "control.sock").exists()
    config = write_config(tmp_path, tiny_bundle, '[endpoint]\nunix = "oip.sock"')
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(tmp_path / "oip.sock"))
        other.listen()
        with Command("edge", "--config", config) as daemon:
            ended = daemon.ended()
    assert ended.status == 1
    assert "oip.sock" in ended.err.splitlines()[-1]
    assert "another process" in ended.err.splitlines()[-1]
