"""Calls of a replica by two lines in turn."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.bench.scale.made_up import result
from tests.cloud.replicas.lines import FakeLine, spec_of

from isthmus import open_bundle
from isthmus_bench.scale.data import scale_json
from isthmus_bench.scale.report import scale_lines
from isthmus_bench.scale.transport import TransportOrder, measured, transports_of
from isthmus_cloud.replicas.calls import Call, Reply
from isthmus_cloud.replicas.runner import Runner

ORDER = TransportOrder(address="127.0.0.1:1", bundle="here", sizes=(100, 5_000), turns=2, pairs=3)


@pytest.fixture
def line(tiny_bundle: Path) -> Iterator[FakeLine]:
    runner = Runner(spec_of(open_bundle(tiny_bundle, "cloud")), lambda _: None)
    yield FakeLine(lambda: runner)
    runner.close()


class Noting(FakeLine):
    """Says by its name when it is used."""

    def __init__(self, line: FakeLine, name: str, used: list[str]) -> None:
        super().__init__(line._runner)
        self.name, self.used = name, used

    def reply(self, call: object, within_s: float) -> bytes:
        self.used.append(self.name)
        return super().reply(call, within_s)  # type: ignore[arg-type]


def test_lines_take_turns_call_by_call_and_the_first_turn_warms_up(line: FakeLine) -> None:
    used: list[str] = []
    lines = Noting(line, "grpc", used), Noting(line, "store", used)
    sizes = list(measured(lines, ORDER))
    assert [each.call_bytes for each in sizes] == [100, 5_000]
    assert all(len(each.grpc_ms) == len(each.store_ms) == 2 for each in sizes)
    assert used == ["grpc", "store"] * 2 * 3 * 3  # sizes, turns with the one before, pairs


def test_a_call_has_its_size_and_a_replica_computes_nothing_for_it(line: FakeLine) -> None:
    list(measured((line, line), ORDER))
    large = [sent.call for sent in line.sent if len(sent.call) > 5_000]
    assert len(large) == len(line.sent) / 2
    reply = msgspec.msgpack.decode(line.reply(line.sent[-1], 1.0), type=Reply)
    assert "no tail of ''" in str(reply.outcomes[0].problem)
    assert reply.runs == []
    assert len(msgspec.msgpack.decode(large[0], type=Call).asked[0].packed.frame) == 5_000


def test_the_reply_of_the_child_becomes_rows_with_their_differences() -> None:
    class Child:
        def do(self, verb: str, *, busy_s: float = 0.0, **fields: object) -> dict[str, object]:
            assert (verb, fields["turns"], busy_s > 0) == ("transport", 2, True)
            return {"sizes": [{"call_bytes": 9, "grpc_ms": [1, 3], "store_ms": [4, 5]}]}

    (row,) = transports_of(Child(), ORDER)
    assert (row.call_bytes, row.grpc_ms.median, row.store_ms.median) == (9, 2, 4.5)
    assert (row.store_more_ms.median, row.store_more_ms.spread) == (2.5, 1)


def test_the_report_shows_both_and_where_the_service_changes_over() -> None:
    text = "\n".join(scale_lines(result()))
    assert "600000" in text
    assert "-1.00 ± 0.30" in text
    assert "bytes and more go through the object store" in text
    assert scale_json(result())["transports"][0]["store_more_ms"]["median"] == -1.0
    assert "object store" not in "\n".join(scale_lines(result(transports=())))
