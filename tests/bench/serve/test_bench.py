"""The whole bench on a tiny bundle: real servers, the generator and the engine in this process."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from tests.bench.serve.made_up import Standing

from isthmus import LinkError
from isthmus_bench.serve import bench
from isthmus_bench.serve.bench import run_serve_bench
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import BARE, Ask, Contestant, Field
from isthmus_bench.serve.data import serve_json
from isthmus_bench.serve.engine import times_of
from isthmus_bench.serve.load import bear
from isthmus_bench.serve.orders import Order, TimesOrder
from isthmus_bench.serve.peers.environment import Peer
from isthmus_bench.serve.report import serve_lines
from isthmus_bench.serve.services import Server
from isthmus_bench.serve.subject import DEEPEST, INPUT, Subject
from isthmus_bench.serve.variants import UNBATCHED


class Here:
    """Does in this process what those that load and that time do; JSON between them, too."""

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        line = msgspec.json.encode({"do": verb, **fields})
        if verb == "times":
            made: object = times_of(msgspec.json.decode(line, type=TimesOrder))
        else:
            made = asyncio.run(bear(msgspec.json.decode(line, type=Order)))
        answer: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
        return answer


@contextmanager
def here(_module: str) -> Iterator[Here]:
    yield Here()


def standing(server: Server) -> Server:
    return Standing(server.address, server.pid)


def no_server() -> Server:
    raise LinkError("the server ended with status 1: no such wheel")


@pytest.fixture
def field_of(
    cloud: Server, bare: Server, serve_config: ServeBenchConfig
) -> Callable[[ServeBenchConfig, Subject, int, Callable[[str], None]], Field]:
    asks = (Ask(DEEPEST, "split"), Ask(INPUT, "split"), Ask(INPUT, "oip", "no such model"))

    def found(*_: object) -> Field:
        return Field(
            contestants=(
                Contestant(BARE, lambda: standing(bare), (Ask(DEEPEST, "bare"),)),
                Contestant(UNBATCHED, lambda: standing(cloud), asks, is_ours=True),
                Contestant("kserve", no_server, (Ask(INPUT, "oip", "whole"),)),
            ),
            peers=(Peer("kserve", "0.21.0", serve_config.work),),
            not_run={"batched": "this service has no --max-batch"},
            ours=UNBATCHED,
        )

    return found


def test_a_run_measures_everybody_who_answers_and_says_who_does_not(
    field_of: Callable[[ServeBenchConfig, Subject, int, Callable[[str], None]], Field],
    serve_config: ServeBenchConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "SIZES", (1, 2))
    said: list[str] = []
    result = run_serve_bench(serve_config, said.append, field_of, here)
    assert [(row.server, row.sends, row.protocol) for row in result.rows] == [
        (BARE, DEEPEST, "bare"),
        (UNBATCHED, DEEPEST, "split"),
        (UNBATCHED, INPUT, "split"),
    ]
    assert "round 1/1: unbatched: deepest by split" in said
    assert "round 1/1: deepest, the most devices: turn 1, 2 of 2 go on" in said
    assert [len(row.devices_at_slo) for row in result.rows] == [1, 1, 1]
    figures = serve_json(result)
    assert (figures["lost"], figures["wrong"], figures["errors"]) == (0, 0, 0)
    assert figures["accepted"] == figures["answered"] > 0
    assert len(result.pairs) == 1
    assert figures["overhead_ms_p50"] is not None
    assert "no such wheel" in result.not_run["kserve"]
    assert "no --max-batch" in result.not_run["batched"]
    assert "no such model" in result.not_run[f"{UNBATCHED}, by the Open Inference Protocol"]
    text = "\n".join(serve_lines(result))
    assert "none was measured" in text
    assert "kserve: the server ended with status 1" in text


def test_a_run_in_which_our_own_service_fails_ends_with_its_error(
    serve_config: ServeBenchConfig,
) -> None:
    def found(*_: object) -> Field:
        ours = Contestant(UNBATCHED, no_server, (Ask(DEEPEST, "split"),), is_ours=True)
        return Field((ours,), (), {}, UNBATCHED)

    with pytest.raises(LinkError, match="no such wheel"):
        run_serve_bench(serve_config, lambda _: None, found, here)
