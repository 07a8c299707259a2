"""The relay's process: flags, ends, and what its owner is told."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.bench.relay.ends import (
    PATIENCE_S,
    dial,
    hears_nothing,
    is_over,
    target,
)

from isthmus.errors import ConfigError, LinkError
from isthmus_bench.relay import LinkShape, Relay
from isthmus_bench.relay.__main__ import main


def test_files_in_the_flags_rule_from_the_start(cloud: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "dead.csv").write_text("t_s,mbps\n0,0\n", encoding="utf-8")
    (tmp_path / "script.json").write_text('[[0, {"refuse": true}]]', encoding="utf-8")
    files = ["--trace", str(tmp_path / "dead.csv"), "--script", str(tmp_path / "script.json")]
    with subprocess.Popen(
        [sys.executable, "-m", "isthmus_bench.relay", "--to", target(cloud), *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = json.loads(process.stdout.readline())["port"]
        with (
            pytest.raises(ConnectionError),
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as refused,
        ):
            refused.recv(1)
        process.stdin.write(b'{"refuse": false}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"ok": True, "refuse": False}
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as edge:
            assert hears_nothing(edge)
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_the_process_is_gone_after_close_and_closing_twice_is_harmless(
    cloud: socket.socket,
) -> None:
    with Relay(target(cloud), LinkShape.symmetric(0.0)) as relay:
        with dial(relay):
            assert psutil.pid_exists(relay.pid)
        relay.close()
        assert not psutil.pid_exists(relay.pid)
    with pytest.raises(LinkError, match="closed"):
        relay.reset()


def test_the_process_ends_with_its_owner_even_when_that_is_killed() -> None:
    program = (
        "from isthmus_bench.relay import LinkShape, Relay\n"
        "relay = Relay('127.0.0.1:9', LinkShape.symmetric(0.0))\n"
        "print(relay.address, flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        host, port = owner.stdout.readline().decode().strip().split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as edge:
            assert hears_nothing(edge)
            owner.kill()
            assert is_over(edge)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_peace(signum: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "isthmus_bench.relay", "--to", "127.0.0.1:9"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b'"port"' in process.stdout.readline()
        process.send_signal(signum)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == b""


def test_a_relay_that_was_killed_says_so_at_the_next_command() -> None:
    with Relay("127.0.0.1:9") as relay:
        os.kill(relay.pid, signal.SIGKILL)
        with pytest.raises(LinkError, match="ended with status -9"):
            relay.shape(LinkShape())


def test_a_target_without_a_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="--to is 'nowhere'; give HOST:PORT"):
        Relay("nowhere")


def test_an_address_in_use_is_refused_with_the_way_out(cloud: socket.socket) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on .* port 0"):
        Relay("127.0.0.1:9", listen=target(cloud))


def test_a_python_that_cannot_start_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(LinkError, match="cannot start '/nowhere/python'"):
        Relay("127.0.0.1:9")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--to", "127.0.0.1:99999"], "--to is '127.0.0.1:99999'"),
        (["--to", "127.0.0.1:9", "--listen", "x"], "--listen is 'x'"),
        (["--to", "127.0.0.1:9", "--rtt-ms", "-4"], "rtt_ms is -4.0"),
        (["--to", "127.0.0.1:9", "--uplink-mbps", "nan"], "uplink_bps is nan"),
        (["--to", "127.0.0.1:9", "--jitter-ms", "-1"], "jitter_ms is -1.0"),
        (["--to", "127.0.0.1:9", "--trace", "/nowhere.csv"], "trace /nowhere.csv: cannot be read"),
        (["--to", "127.0.0.1:9", "--script", "/nowhere.json"], "--script /nowhere.json: cannot be"),
    ],
)
def test_a_bad_flag_is_one_line_and_status_1(
    flags: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert named in error
    assert error.count("\n") == 1
