"""The emulated link as its user meets it: a real process between two real sockets on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from isthmus.errors import ConfigError, LinkError
from isthmus_bench.relay import LinkShape, Relay
from isthmus_bench.relay.__main__ import main
from isthmus_bench.traces import Trace

# How long a test waits for what must come, and for what must not.
_PATIENCE_S = 20.0
_SILENCE_S = 0.15


@pytest.fixture(scope="module")
def cloud() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_PATIENCE_S)
        yield listener


@pytest.fixture(scope="module")
def shared_relay(cloud: socket.socket) -> Iterator[Relay]:
    with Relay(_target(cloud)) as relay:
        yield relay


@pytest.fixture
def relay(shared_relay: Relay) -> Relay:
    shared_relay.run_script([])
    shared_relay.half_open(False)
    shared_relay.refuse(False)
    shared_relay.shape(LinkShape())
    shared_relay.reset()
    return shared_relay


def _target(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def _dial(relay: Relay) -> socket.socket:
    host, port = relay.address.split(":")
    return socket.create_connection((host, int(port)), timeout=_PATIENCE_S)


def _joined(relay: Relay, cloud: socket.socket) -> tuple[socket.socket, socket.socket]:
    edge = _dial(relay)
    served, _ = cloud.accept()
    served.settimeout(_PATIENCE_S)
    return edge, served


def _received(end: socket.socket, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        chunk = end.recv(65536)
        assert chunk, f"the stream ended after {len(data)} of {size_bytes} bytes"
        data += chunk
    return data


def _hears_nothing(end: socket.socket, seconds: float = _SILENCE_S) -> bool:
    end.settimeout(seconds)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(_PATIENCE_S)
    return False


def _is_over(end: socket.socket) -> bool:
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "shape",
    [
        LinkShape(rtt_ms=10.0),
        LinkShape.symmetric(50.0, 10.0),
        LinkShape(rtt_ms=10.0, jitter_ms=10.0, stalls_per_s=20.0, stall_ms=20.0),
    ],
)
def test_bytes_arrive_complete_and_in_order_both_ways(
    relay: Relay, cloud: socket.socket, shape: LinkShape
) -> None:
    payload = os.urandom(300_000)
    relay.shape(shape)
    edge, served = _joined(relay, cloud)
    with edge, served:
        for sender, receiver in ((edge, served), (served, edge)):
            sending = threading.Thread(target=sender.sendall, args=(payload,))
            sending.start()
            assert _received(receiver, len(payload)) == payload
            sending.join()


def test_what_each_direction_has_carried_is_counted(relay: Relay, cloud: socket.socket) -> None:
    before = relay.carried_bytes()
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(bytes(5000))
        assert _received(served, 5000) == bytes(5000)
        served.sendall(bytes(300))
        assert _received(edge, 300) == bytes(300)
        after = relay.carried_bytes()
    assert after["uplink"] - before["uplink"] == 5040  # opening it takes a packet each way
    assert after["downlink"] - before["downlink"] == 340


def test_what_does_not_pass_is_not_counted(relay: Relay, cloud: socket.socket) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(b"before ")
        assert _received(served, 7) == b"before "
        relay.shape(LinkShape.symmetric(0.0))
        before = relay.carried_bytes()
        edge.sendall(b"during ")
        assert _hears_nothing(served)
        assert relay.carried_bytes() == before
        relay.shape(LinkShape())
        assert _received(served, 7) == b"during "
        assert relay.carried_bytes()["uplink"] - before["uplink"] == 7


def test_the_end_of_a_stream_leaves_the_other_direction_open(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(b"question")
        edge.shutdown(socket.SHUT_WR)
        assert _received(served, 8) == b"question"
        assert served.recv(1) == b""
        served.sendall(b"answer")
        served.close()
        assert _received(edge, 6) == b"answer"
        assert edge.recv(1) == b""


def test_at_rate_zero_nothing_passes_and_everything_comes_when_the_rate_is_back(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(b"before ")
        assert _received(served, 7) == b"before "
        relay.shape(LinkShape.symmetric(0.0))
        edge.sendall(b"during ")
        served.sendall(b"reply")
        assert _hears_nothing(served)
        assert _hears_nothing(edge)
        relay.shape(LinkShape())
        edge.sendall(b"after")
        assert _received(served, 12) == b"during after"
        assert _received(edge, 5) == b"reply"


def test_one_direction_can_be_cut_off_alone(relay: Relay, cloud: socket.socket) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.shape(LinkShape(uplink_bps=0.0))
        edge.sendall(b"up")
        served.sendall(b"down")
        assert _received(edge, 4) == b"down"
        assert _hears_nothing(served)


def test_the_end_of_a_stream_does_not_cross_a_black_hole(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.shape(LinkShape.symmetric(0.0))
        edge.close()
        assert _hears_nothing(served)
        relay.shape(LinkShape())
        assert served.recv(1) == b""


def test_a_new_connection_hangs_in_a_black_hole_until_the_rate_is_back(
    relay: Relay, cloud: socket.socket
) -> None:
    relay.shape(LinkShape.symmetric(0.0))
    with _dial(relay) as edge:
        edge.sendall(b"hello")
        assert _hears_nothing(edge)
        relay.shape(LinkShape.symmetric(1.0))
        served, _ = cloud.accept()
        with served:
            assert _received(served, 5) == b"hello"


def test_a_trace_without_rate_passes_nothing_and_a_shape_ends_it(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.play(Trace("dead", (0.0,), (0.0,), 0.0))
        edge.sendall(b"up")
        served.sendall(b"down")
        assert _hears_nothing(served)
        assert _hears_nothing(edge)
        relay.shape(LinkShape())
        assert _received(served, 2) == b"up"
        assert _received(edge, 4) == b"down"


def test_a_trace_plays_from_its_start_and_repeats(relay: Relay, cloud: socket.socket) -> None:
    """80 kbit lie in each round of 20 ms, so 50,000 bytes take five; they come all the same."""
    payload = os.urandom(50_000)
    edge, served = _joined(relay, cloud)
    with edge, served:
        began_s = relay.play(Trace("pulses", (0.0, 0.01), (8.0, 0.0), 60.0), rtt_ms=2.0)
        assert began_s <= time.monotonic()
        edge.sendall(payload)
        assert _received(served, len(payload)) == payload


def test_a_trace_can_rule_one_direction_alone(relay: Relay, cloud: socket.socket) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.play(Trace("dead", (0.0,), (0.0,), 0.0), direction="uplink")
        edge.sendall(b"up")
        served.sendall(b"down")
        assert _received(edge, 4) == b"down"
        assert _hears_nothing(served)


def test_a_long_trace_fits_through_the_pipe(relay: Relay, cloud: socket.socket) -> None:
    rows = 20_000
    times_s = tuple(row / 10 for row in range(rows))
    relay.play(Trace("long", times_s, (12.345,) * rows, 0.0))
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(b"on")
        assert _received(served, 2) == b"on"


def test_half_open_accepts_and_passes_nothing(relay: Relay, cloud: socket.socket) -> None:
    relay.half_open()
    with _dial(relay) as edge:
        edge.sendall(b"anybody")
        assert _hears_nothing(edge)
        cloud.setblocking(False)
        with pytest.raises(BlockingIOError):
            cloud.accept()
        cloud.settimeout(_PATIENCE_S)


def test_half_open_silences_a_connection_for_good_without_an_end(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with served:
        with edge:
            relay.half_open()
            edge.sendall(b"up")
            served.sendall(b"down")
            assert _hears_nothing(served)
            assert _hears_nothing(edge)
            relay.half_open(False)
            assert _hears_nothing(served)
        assert _hears_nothing(served)  # nor is it told that the edge has closed
        relay.reset()
        with pytest.raises(ConnectionResetError):
            served.recv(1)


def test_new_connections_work_once_half_open_is_over(relay: Relay, cloud: socket.socket) -> None:
    relay.half_open()
    relay.half_open(False)
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(b"again")
        assert _received(served, 5) == b"again"


def test_refusing_breaks_new_connections_and_leaves_the_others(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.refuse()
        with pytest.raises(ConnectionError), _dial(relay) as refused:
            refused.recv(1)
        edge.sendall(b"still")
        assert _received(served, 5) == b"still"
        relay.refuse(False)
        again, served_again = _joined(relay, cloud)
        with again, served_again:
            again.sendall(b"back")
            assert _received(served_again, 4) == b"back"


def test_a_script_carries_out_its_steps_in_order(relay: Relay, cloud: socket.socket) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.shape(LinkShape.symmetric(0.0))
        edge.sendall(b"held")
        relay.run_script([(0.0, {"uplink_mbps": None}), (0.2, {"reset": True})])
        assert _received(served, 4) == b"held"
        with pytest.raises(ConnectionResetError):
            edge.recv(1)


def test_a_new_script_takes_the_place_of_the_old(relay: Relay, cloud: socket.socket) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.run_script([(1.0, {"reset": True})])
        relay.run_script([])
        assert _hears_nothing(edge, 1.3)
        edge.sendall(b"alive")
        assert _received(served, 5) == b"alive"


def test_a_script_with_a_bad_step_is_refused_before_its_first(relay: Relay) -> None:
    with pytest.raises(ConfigError, match=r"script, step 2: .*stall_ms is 0"):
        relay.run_script([(0.0, {"reset": True}), (1.0, {"stalls_per_s": 2})])
    with pytest.raises(ConfigError, match="script, step 1: relay: cannot use"):
        relay.run_script([(0.0, {"speed": 5})])


def test_files_in_the_flags_rule_from_the_start(cloud: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "dead.csv").write_text("t_s,mbps\n0,0\n", encoding="utf-8")
    (tmp_path / "script.json").write_text('[[0, {"refuse": true}]]', encoding="utf-8")
    files = ["--trace", str(tmp_path / "dead.csv"), "--script", str(tmp_path / "script.json")]
    with subprocess.Popen(
        [sys.executable, "-m", "isthmus_bench.relay", "--to", _target(cloud), *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = json.loads(process.stdout.readline())["port"]
        with (
            pytest.raises(ConnectionError),
            socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as refused,
        ):
            refused.recv(1)
        process.stdin.write(b'{"refuse": false}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"ok": True, "refuse": False}
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as edge:
            assert _hears_nothing(edge)
        process.stdin.close()
        assert process.wait(_PATIENCE_S) == 0


def test_a_reset_breaks_both_ends_and_new_connections_work(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        relay.reset()
        for end in (edge, served):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(b"again")
        assert _received(served, 5) == b"again"


def test_a_cloud_that_is_not_there_breaks_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_again:
        target = _target(closed_again)
    with Relay(target) as relay, _dial(relay) as edge, pytest.raises(ConnectionResetError):
        edge.recv(1)


def test_a_cloud_that_breaks_the_connection_breaks_it_for_the_edge(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = _joined(relay, cloud)
    with edge, served:
        edge.sendall(b"unread")
        served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        served.close()
        with pytest.raises(ConnectionResetError):
            edge.recv(1)


def test_the_process_is_gone_after_close_and_closing_twice_is_harmless(
    cloud: socket.socket,
) -> None:
    with Relay(_target(cloud), LinkShape.symmetric(0.0)) as relay:
        with _dial(relay):
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
        with socket.create_connection((host, int(port)), timeout=_PATIENCE_S) as edge:
            assert _hears_nothing(edge)
            owner.kill()
            assert _is_over(edge)


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
        assert process.wait(_PATIENCE_S) == 0
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
        Relay("127.0.0.1:9", listen=_target(cloud))


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
