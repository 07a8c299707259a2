"""The emulated link as its user meets it: a real process between two real sockets on loopback."""

import os
import socket
import threading
import time

import pytest
from tests.bench.relay.ends import PATIENCE_S, dial, hears_nothing, joined, received, target

from isthmus.errors import ConfigError
from isthmus_bench.relay import LinkShape, Relay
from isthmus_bench.traces import Trace


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
    edge, served = joined(relay, cloud)
    with edge, served:
        for sender, receiver in ((edge, served), (served, edge)):
            sending = threading.Thread(target=sender.sendall, args=(payload,))
            sending.start()
            assert received(receiver, len(payload)) == payload
            sending.join()


def test_what_each_direction_has_carried_is_counted(relay: Relay, cloud: socket.socket) -> None:
    before = relay.carried_bytes()
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(bytes(5000))
        assert received(served, 5000) == bytes(5000)
        served.sendall(bytes(300))
        assert received(edge, 300) == bytes(300)
        after = relay.carried_bytes()
    assert after["uplink"] - before["uplink"] == 5040  # opening it takes a packet each way
    assert after["downlink"] - before["downlink"] == 340


def test_what_does_not_pass_is_not_counted(relay: Relay, cloud: socket.socket) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(b"before ")
        assert received(served, 7) == b"before "
        relay.shape(LinkShape.symmetric(0.0))
        before = relay.carried_bytes()
        edge.sendall(b"during ")
        assert hears_nothing(served)
        assert relay.carried_bytes() == before
        relay.shape(LinkShape())
        assert received(served, 7) == b"during "
        assert relay.carried_bytes()["uplink"] - before["uplink"] == 7


def test_the_end_of_a_stream_leaves_the_other_direction_open(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(b"question")
        edge.shutdown(socket.SHUT_WR)
        assert received(served, 8) == b"question"
        assert served.recv(1) == b""
        served.sendall(b"answer")
        served.close()
        assert received(edge, 6) == b"answer"
        assert edge.recv(1) == b""


def test_at_rate_zero_nothing_passes_and_everything_comes_when_the_rate_is_back(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(b"before ")
        assert received(served, 7) == b"before "
        relay.shape(LinkShape.symmetric(0.0))
        edge.sendall(b"during ")
        served.sendall(b"reply")
        assert hears_nothing(served)
        assert hears_nothing(edge)
        relay.shape(LinkShape())
        edge.sendall(b"after")
        assert received(served, 12) == b"during after"
        assert received(edge, 5) == b"reply"


def test_one_direction_can_be_cut_off_alone(relay: Relay, cloud: socket.socket) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.shape(LinkShape(uplink_bps=0.0))
        edge.sendall(b"up")
        served.sendall(b"down")
        assert received(edge, 4) == b"down"
        assert hears_nothing(served)


def test_the_end_of_a_stream_does_not_cross_a_black_hole(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.shape(LinkShape.symmetric(0.0))
        edge.close()
        assert hears_nothing(served)
        relay.shape(LinkShape())
        assert served.recv(1) == b""


def test_a_new_connection_hangs_in_a_black_hole_until_the_rate_is_back(
    relay: Relay, cloud: socket.socket
) -> None:
    relay.shape(LinkShape.symmetric(0.0))
    with dial(relay) as edge:
        edge.sendall(b"hello")
        assert hears_nothing(edge)
        relay.shape(LinkShape.symmetric(1.0))
        served, _ = cloud.accept()
        with served:
            assert received(served, 5) == b"hello"


def test_a_trace_without_rate_passes_nothing_and_a_shape_ends_it(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.play(Trace("dead", (0.0,), (0.0,), 0.0))
        edge.sendall(b"up")
        served.sendall(b"down")
        assert hears_nothing(served)
        assert hears_nothing(edge)
        relay.shape(LinkShape())
        assert received(served, 2) == b"up"
        assert received(edge, 4) == b"down"


def test_a_trace_plays_from_its_start_and_repeats(relay: Relay, cloud: socket.socket) -> None:
    """80 kbit lie in each round of 20 ms, so 50,000 bytes take five; they come all the same."""
    payload = os.urandom(50_000)
    edge, served = joined(relay, cloud)
    with edge, served:
        began_s = relay.play(Trace("pulses", (0.0, 0.01), (8.0, 0.0), 60.0), rtt_ms=2.0)
        assert began_s <= time.monotonic()
        edge.sendall(payload)
        assert received(served, len(payload)) == payload


def test_a_trace_can_rule_one_direction_alone(relay: Relay, cloud: socket.socket) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.play(Trace("dead", (0.0,), (0.0,), 0.0), direction="uplink")
        edge.sendall(b"up")
        served.sendall(b"down")
        assert received(edge, 4) == b"down"
        assert hears_nothing(served)


def test_a_long_trace_fits_through_the_pipe(relay: Relay, cloud: socket.socket) -> None:
    rows = 20_000
    times_s = tuple(row / 10 for row in range(rows))
    relay.play(Trace("long", times_s, (12.345,) * rows, 0.0))
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(b"on")
        assert received(served, 2) == b"on"


def test_half_open_accepts_and_passes_nothing(relay: Relay, cloud: socket.socket) -> None:
    relay.half_open()
    with dial(relay) as edge:
        edge.sendall(b"anybody")
        assert hears_nothing(edge)
        cloud.setblocking(False)
        with pytest.raises(BlockingIOError):
            cloud.accept()
        cloud.settimeout(PATIENCE_S)


def test_half_open_silences_a_connection_for_good_without_an_end(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with served:
        with edge:
            relay.half_open()
            edge.sendall(b"up")
            served.sendall(b"down")
            assert hears_nothing(served)
            assert hears_nothing(edge)
            relay.half_open(False)
            assert hears_nothing(served)
        assert hears_nothing(served)  # nor is it told that the edge has closed
        relay.reset()
        with pytest.raises(ConnectionResetError):
            served.recv(1)


def test_new_connections_work_once_half_open_is_over(relay: Relay, cloud: socket.socket) -> None:
    relay.half_open()
    relay.half_open(False)
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(b"again")
        assert received(served, 5) == b"again"


def test_refusing_breaks_new_connections_and_leaves_the_others(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.refuse()
        with pytest.raises(ConnectionError), dial(relay) as refused:
            refused.recv(1)
        edge.sendall(b"still")
        assert received(served, 5) == b"still"
        relay.refuse(False)
        again, served_again = joined(relay, cloud)
        with again, served_again:
            again.sendall(b"back")
            assert received(served_again, 4) == b"back"


def test_a_script_carries_out_its_steps_in_order(relay: Relay, cloud: socket.socket) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.shape(LinkShape.symmetric(0.0))
        edge.sendall(b"held")
        relay.run_script([(0.0, {"uplink_mbps": None}), (0.2, {"reset": True})])
        assert received(served, 4) == b"held"
        with pytest.raises(ConnectionResetError):
            edge.recv(1)


def test_a_new_script_takes_the_place_of_the_old(relay: Relay, cloud: socket.socket) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.run_script([(1.0, {"reset": True})])
        relay.run_script([])
        assert hears_nothing(edge, 1.3)
        edge.sendall(b"alive")
        assert received(served, 5) == b"alive"


def test_a_script_with_a_bad_step_is_refused_before_its_first(relay: Relay) -> None:
    with pytest.raises(ConfigError, match=r"script, step 2: .*stall_ms is 0"):
        relay.run_script([(0.0, {"reset": True}), (1.0, {"stalls_per_s": 2})])
    with pytest.raises(ConfigError, match="script, step 1: relay: cannot use"):
        relay.run_script([(0.0, {"speed": 5})])


def test_a_reset_breaks_both_ends_and_new_connections_work(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        relay.reset()
        for end in (edge, served):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(b"again")
        assert received(served, 5) == b"again"


def test_a_cloud_that_is_not_there_breaks_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_again:
        gone = target(closed_again)
    with Relay(gone) as relay, pytest.raises(ConnectionResetError), dial(relay) as edge:
        edge.recv(1)


def test_a_cloud_that_breaks_the_connection_breaks_it_for_the_edge(
    relay: Relay, cloud: socket.socket
) -> None:
    edge, served = joined(relay, cloud)
    with edge, served:
        edge.sendall(b"unread")
        served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        served.close()
        with pytest.raises(ConnectionResetError):
            edge.recv(1)
