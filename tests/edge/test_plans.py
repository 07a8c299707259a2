"""Agents on other plans for the wide bundle: a chain out of use, outputs in another order."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.edge.fakes import MARK, FakeService, frame_error, wide_item
from tests.reference import Reference
from tests.tinybundle import tiny_pictures

from isthmus import encode_manifest, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig

ITEM = wide_item(tiny_pictures(3)[2])

Changed = Callable[..., AgentConfig]


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def changed(wide_bundle: Path, tmp_path: Path) -> Changed:
    """`changed(outputs=…)`: an agent's settings for a copy with other fields in its manifest."""

    def change(**fields: Any) -> AgentConfig:
        path = shutil.copytree(wide_bundle, tmp_path / "copied.bundle")
        manifest = msgspec.structs.replace(open_bundle(path, "device").manifest, **fields)
        (path / "bundle.json").write_bytes(encode_manifest(manifest))
        return AgentConfig(bundle=path, cloud="127.0.0.1:1")

    return change


def test_a_frame_may_be_pinned_to_a_cut_whose_chain_the_policy_never_uses(
    wide_bundle: Path, changed: Changed, service: FakeService
) -> None:
    service.respond = frame_error(pb.ERROR_CODE_INTERNAL)
    candidates = open_bundle(wide_bundle, "device").manifest.candidates
    kept = [msgspec.structs.replace(c, kept=c.id != "curves") for c in candidates]
    config = changed(candidates=tuple(kept))
    with Agent.open(config, transport=service) as agent:
        answer = agent.infer(ITEM, candidate="curves")
    assert (answer.candidate, answer.place) == ("curves", "device")
    assert Reference(config.bundle).is_right(answer, ITEM)


def test_what_the_head_has_answered_stands_where_the_plan_has_it(
    wide_bundle: Path, changed: Changed, service: FakeService
) -> None:
    probabilities, tone = open_bundle(wide_bundle, "device").manifest.outputs
    with Agent.open(changed(outputs=(tone, probabilities)), transport=service) as agent:
        answer = agent.infer(ITEM, candidate="floats")
    assert (answer.place, list(answer.outputs)) == ("cloud", ["tone", "probabilities"])
    assert answer.outputs["probabilities"].argmax() == MARK
    mean_colour = ITEM["picture"].astype(np.float64).mean(axis=(1, 2))
    assert np.allclose(answer.outputs["tone"], mean_colour, rtol=1e-5)
