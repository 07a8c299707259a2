"""A replica that holds one spec after the other, without a cluster."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from tests.cloud.computing import RAY_WARNINGS, need_ray
from tests.cloud.device import GUARD_S, Head, Truth
from tests.cloud.far_gate import FarGate
from tests.cloud.held_engine import HELD
from tests.cloud.replicas.lines import spec_of
from tests.tinybundle import PROBABILITIES

from isthmus import Bundle, open_bundle
from isthmus_cloud.answering.packed import Packed
from isthmus_cloud.replicas.calls import Asked, Call, Description, Outcome, Reply
from isthmus_cloud.replicas.runner import Runner
from isthmus_cloud.replicas.spec import Spec, spec_id

if TYPE_CHECKING:
    from isthmus_cloud.replicas.replica import SharedReplica

pytestmark = RAY_WARNINGS


@pytest.fixture
def replica(gate_path: Path, monkeypatch: pytest.MonkeyPatch) -> "SharedReplica":
    """It holds one spec at a time, and says in `loads` which it has loaded; see Ray's
    `serve.multiplexed`."""
    need_ray()
    from isthmus_cloud.replicas import replica as module  # noqa: PLC0415 - it needs Ray

    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="here"))
    monkeypatch.setattr("ray.serve.get_replica_context", lambda: context)

    class OneAtATime(module.SharedReplica):
        def __init__(self) -> None:
            super().__init__()
            self.last: tuple[str, Runner | None] = ("", None)
            self.loads: list[str] = []

        async def held(self, identity: str) -> Runner:
            name, runner = self.last
            if runner is None or name != identity:
                self.loads.append(identity)
                getattr(runner, "__del__", lambda: None)()  # as Ray does if there is one
                self.last = ("", None)
                runner = await self.load(identity)
                self.last = (identity, runner)
            return runner

    return OneAtATime()


def held(bundle: Bundle, **changes: object) -> Spec:
    """Of the gated engine."""
    return msgspec.structs.replace(spec_of(bundle), engine=HELD, provider="auto", **changes)


async def described(replica: "SharedReplica", spec: Spec) -> Description:
    described = await replica.describe(msgspec.json.encode(spec))
    return msgspec.msgpack.decode(described, type=Description)


async def outcome(replica: "SharedReplica", spec: Spec, head: Head) -> Outcome:
    """Of the call of one frame."""
    frame = head.frame("cut-16", 1)
    call = Call([Asked("cut", Packed("cut-16", frame.SerializeToString()))])
    encoded = await replica.answer(msgspec.json.encode(spec), msgspec.msgpack.encode(call))
    reply = msgspec.msgpack.decode(encoded, type=Reply)
    (only,) = reply.outcomes
    assert reply.replica == "here"
    return only


def is_right(outcome: Outcome, bundle: Bundle, head: Head) -> bool:
    assert outcome.problem is None, outcome.problem
    expected = Truth(bundle).of(head.frame("cut-16", 1))
    return np.allclose(outcome.outputs[PROBABILITIES.name].array(), expected, atol=1e-6)


async def test_each_spec_is_held_by_itself_even_of_one_bundle(
    replica: "SharedReplica", bundle: Bundle, head: Head
) -> None:
    """Front ends of other flags share the replicas, and not what they run."""
    own, other = held(bundle), spec_of(bundle)
    providers: Mapping[str, str] = {
        name: (await described(replica, spec)).provider
        for name, spec in (("own", own), ("other", other))
    }
    assert providers == {"own": "HeldExecutionProvider", "other": "CPUExecutionProvider"}
    assert is_right(await outcome(replica, other, head), bundle, head)
    assert is_right(await outcome(replica, own, head), bundle, head)
    assert replica.loads == [spec_id(own), spec_id(other), spec_id(own)]  # type: ignore[attr-defined]


async def test_a_spec_that_makes_room_for_another_runs_what_it_has_begun(
    replica: "SharedReplica", bundle: Bundle, other_bundle: Path, head: Head, gate_path: Path
) -> None:
    first, second = held(bundle), spec_of(open_bundle(other_bundle, "cloud"))
    await described(replica, first)
    with FarGate(gate_path) as gate:
        running = asyncio.create_task(outcome(replica, first, head))
        await gate.begun()
        await described(replica, second)
        assert replica.loads == [spec_id(first), spec_id(second)]  # type: ignore[attr-defined]
        gate.let_pass()
        async with asyncio.timeout(GUARD_S):
            assert is_right(await running, bundle, head)


async def test_a_call_that_runs_for_too_long_fails_the_health_check(
    replica: "SharedReplica", bundle: Bundle, head: Head, gate_path: Path
) -> None:
    for spec in (held(bundle), held(bundle, hang_s=0.0)):
        await described(replica, spec)
        with FarGate(gate_path) as gate:
            running = asyncio.create_task(outcome(replica, spec, head))
            await gate.begun()
            if spec.hang_s:
                replica.check_health()
            else:
                with pytest.raises(RuntimeError, match="the engine hangs"):
                    replica.check_health()
            gate.let_pass()
            await running
