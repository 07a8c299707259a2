"""Who takes part in the serving bench, and why others do not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus_bench.serve import contestants as module
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import BARE, Field, contestants
from isthmus_bench.serve.peers.environment import MODEL_NAME, Peer, PeerError
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED, Subject
from isthmus_bench.serve.variants import (
    BATCHED,
    BATCHED_ONE,
    GPU_BATCHED,
    GPU_UNBATCHED,
    NO_JOINS,
    ONE_WORKER,
    UNBATCHED,
)

ALL_FLAGS = "--provider --workers --threads --max-batch --no-joins"

Find = Callable[..., Field]


def install(name: str, folder: Path) -> Peer:
    if name == "mlserver":
        raise PeerError("it does not install: no wheel for this Python")
    return Peer(name, "1.0", folder)


@pytest.fixture
def find(serve_config: ServeBenchConfig, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Find:
    """For a service with some flags; no GPU is here."""

    def found(flags: str = ALL_FLAGS, **changes: Any) -> Field:
        monkeypatch.setattr(module, "known_flags", lambda: flags)
        monkeypatch.setattr(module, "why_no_gpu", lambda: "no GPU here")
        monkeypatch.setattr(module, "install", install)
        config = replace(serve_config, **changes)
        return contestants(config, subject, 2, lambda _: None)

    return found


def sent_to(field: Field, name: str) -> list[tuple[str, str]]:
    (one,) = (each for each in field.contestants if each.name == name)
    return [(ask.sends, ask.protocol) for ask in one.asks]


def test_variants_are_asked_for_what_is_compared_and_the_default_stands_for_us(find: Find) -> None:
    field = find()
    cuts = [(sends, "split") for sends in (DEEPEST, FORTIETH, INPUT, MIXED)]
    assert field.ours == BATCHED
    assert sent_to(field, UNBATCHED) == cuts
    assert sent_to(field, BATCHED) == [*cuts, (INPUT, "oip")]
    assert sent_to(field, ONE_WORKER) == cuts[:1]
    assert sent_to(field, BATCHED_ONE) == cuts[1:3]
    assert sent_to(field, NO_JOINS) == [(MIXED, "split")]
    assert field.not_run == {}
    bare = [each for each in field.contestants if each.name == BARE]
    assert [each.asks[0].sends for each in bare] == [DEEPEST, FORTIETH, INPUT]
    assert not any(each.is_ours for each in bare)


def test_a_service_that_cannot_batch_is_measured_as_it_is(find: Find) -> None:
    field = find("--provider --workers --threads")
    assert field.ours == UNBATCHED
    assert sent_to(field, UNBATCHED)[-1] == (INPUT, "oip")
    assert field.not_run[BATCHED] == "this service has no --max-batch"
    assert field.not_run[NO_JOINS] == "this service has no --max-batch and no --no-joins"


def test_a_gpu_is_looked_for_only_if_it_is_asked_for(find: Find) -> None:
    assert GPU_BATCHED not in find().not_run
    field = find(gpu=True)
    assert field.not_run == {GPU_BATCHED: "no GPU here", GPU_UNBATCHED: "no GPU here"}


def test_peers_serve_the_whole_model_and_one_that_does_not_install_is_said(find: Find) -> None:
    field = find(peers=("kserve", "mlserver"))
    assert [peer.name for peer in field.peers] == ["kserve"]
    assert "no wheel" in field.not_run["mlserver"]
    (kserve,) = (each for each in field.contestants if each.name == "kserve")
    assert [(ask.sends, ask.protocol, ask.model) for ask in kserve.asks] == [
        (INPUT, "oip", MODEL_NAME)
    ]
    assert not kserve.is_ours
