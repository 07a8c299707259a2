"""The load generator against real servers, and against ones that answer wrongly or go away."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus import LinkError, TensorSpec
from isthmus.oip import Parameter, Reply, Service, Tensor, make_server
from isthmus.session import Identity
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus.v1.split_pb2_grpc import SplitServicer, add_SplitServicer_to_server
from isthmus_bench.serve.idling import ECHOES, Idlers
from isthmus_bench.serve.load import PATIENCE_S, bear
from isthmus_bench.serve.orders import Load, Order
from isthmus_bench.serve.recorded import Case, Item, load_case, save_case
from isthmus_bench.serve.services import Server
from isthmus_bench.serve.split_talker import SplitTalker
from isthmus_bench.serve.subject import DEEPEST, INPUT, MIXED, Subject
from isthmus_bench.serve.talkers import Listener


def order(subject: Subject, server: Server, sends: str = DEEPEST, **changes: object) -> Order:
    base = Order(
        do="load",
        address=server.address,
        pid=server.pid,
        cases=tuple(str(each.case) for each in subject.served[sends]),
        fingerprint=subject.bundle.fingerprint,
        devices=3,
        window=2,
        seconds=0.3,
        warm_s=0.1,
    )
    return msgspec.structs.replace(base, **changes)


def changed_case(subject: Subject, path: Path, items: Sequence[Item], candidate: str) -> str:
    case = load_case(subject.served[DEEPEST][0].case)
    save_case(msgspec.structs.replace(case, items=tuple(items), candidate=candidate), path)
    return str(path)


def assert_all_answered(load: Load) -> None:
    assert load.accepted == load.answered > 0
    assert (load.errors, load.lost, load.wrong, load.unsent) == ({}, 0, 0, 0)
    assert load.answers_per_s > 0
    assert load.p95_ms is not None
    assert load.server_cpu_ms is not None


async def test_devices_keep_their_windows_full_and_get_their_own_answers(
    subject: Subject, cloud: Server
) -> None:
    load = await bear(order(subject, cloud, MIXED))
    assert_all_answered(load)
    assert load.run_ms is not None
    assert load.batch is not None


async def test_cameras_send_as_often_as_they_are_told(subject: Subject, cloud: Server) -> None:
    load = await bear(order(subject, cloud, devices=4, fps=20.0, seconds=0.5))
    assert load.accepted == 4 * 20 * 0.5
    assert_all_answered(load)


async def test_the_bare_loop_bears_the_same_frames(subject: Subject, bare: Server) -> None:
    load = await bear(order(subject, bare, protocol="bare"))
    assert_all_answered(load)
    assert load.run_ms is None


async def test_another_frame_s_answer_is_seen(
    subject: Subject, cloud: Server, tmp_path: Path
) -> None:
    one, other, _ = load_case(subject.served[DEEPEST][0].case).items
    mixed_up = msgspec.structs.replace(one, answer=other.answer)
    path = changed_case(subject, tmp_path / "mixed-up", [mixed_up], "cut-256")
    load = await bear(order(subject, cloud, cases=(path,)))
    assert load.wrong == load.answered == load.accepted > 0


async def test_refused_frames_end_in_errors(
    subject: Subject, cloud: Server, tmp_path: Path
) -> None:
    frame = pb.Frame(candidate="nobody's", payloads=[pb.Payload(data=b"0")])
    items = [Item(frame.SerializeToString(), b"", b"")]
    path = changed_case(subject, tmp_path / "unknown", items, "nobody's")
    load = await bear(order(subject, cloud, cases=(path,)))
    assert load.errors == {"UNKNOWN_CANDIDATE": load.accepted}
    assert load.accepted > 0
    assert (load.answered, load.lost) == (0, 0)
    assert load.p50_ms is None


class Deserter(SplitServicer):
    """Welcomes, takes a frame, and goes."""

    async def Stream(  # noqa: N802 - as gRPC calls it
        self, messages: AsyncIterator[pb.EdgeMessage], context: object
    ) -> AsyncIterator[pb.CloudMessage]:
        async for message in messages:
            if message.HasField("frame"):
                return
            fingerprint = message.hello.bundle_fingerprint
            welcome = pb.Welcome(protocol=PROTOCOL, bundle_fingerprint=fingerprint, window=4)
            yield pb.CloudMessage(welcome=welcome)


class Overloaded(SplitServicer):
    """Refuses every frame, and asks for a minute's rest."""

    async def Stream(  # noqa: N802 - as gRPC calls it
        self, messages: AsyncIterator[pb.EdgeMessage], context: object
    ) -> AsyncIterator[pb.CloudMessage]:
        async for message in messages:
            fingerprint = message.hello.bundle_fingerprint
            welcome = pb.Welcome(protocol=PROTOCOL, bundle_fingerprint=fingerprint, window=4)
            if message.HasField("hello"):
                yield pb.CloudMessage(welcome=welcome)
            elif message.HasField("frame"):
                error = pb.Error(
                    sequence=message.frame.sequence,
                    code=pb.ERROR_CODE_OVERLOADED,
                    retry_after_ms=60_000,
                )
                yield pb.CloudMessage(error=error)


@asynccontextmanager
async def serving(servicer: SplitServicer) -> AsyncIterator[str]:
    server = grpc.aio.server()
    add_SplitServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_frames_of_a_stream_that_broke_are_lost_and_not_waited_for(
    subject: Subject, cloud: Server
) -> None:
    async with serving(Deserter()) as address:
        bearing = bear(order(subject, cloud, address=address, pid=0))
        load = await asyncio.wait_for(bearing, PATIENCE_S / 2)
    assert load.lost == load.accepted > 0
    assert load.answered == 0
    assert load.server_cpu_ms is None


async def test_devices_rest_when_the_service_asks_them_to(subject: Subject, cloud: Server) -> None:
    async with serving(Overloaded()) as address:
        load = await bear(order(subject, cloud, address=address, devices=3, window=2))
    assert load.errors == {"OVERLOADED": load.accepted}
    assert 3 <= load.accepted <= 6
    assert load.unsent > 0
    assert load.lost == 0


async def test_devices_with_another_bundle_are_refused(subject: Subject, cloud: Server) -> None:
    with pytest.raises(LinkError, match="another bundle"):
        await bear(order(subject, cloud, fingerprint="0" * 64))


class Whole:
    """Answers the first recorded picture's answer, over the Open Inference Protocol."""

    name, versions, is_ready = "whole", ("1",), True

    def __init__(self, case: Case, outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs, self.outputs = case.wires, outputs
        self._answers = {item.raw: item.answer for item in case.items}

    async def infer(
        self,
        tensors: Mapping[str, Tensor],
        parameters: Mapping[str, Parameter],
        deadline_s: float | None,
    ) -> Reply:
        (picture,) = tensors.values()
        (output,) = self.outputs
        assert not isinstance(picture, bytes)
        return Reply({output.name: _array(self._answers[picture.tobytes()], output)})

    def listed(self) -> "Sequence[Whole]":
        return [self]


def _array(answer: bytes, spec: TensorSpec) -> NDArray[np.generic]:
    return np.frombuffer(answer, np.float32).reshape(spec.graph_shape)


async def test_whole_models_are_asked_by_the_open_inference_protocol(
    subject: Subject, cloud: Server
) -> None:
    case = load_case(subject.served[INPUT][0].case)
    whole = Whole(case, subject.manifest.outputs)
    server = make_server(Service(whole))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        load = await bear(
            order(
                subject,
                cloud,
                INPUT,
                protocol="oip",
                model="whole",
                address=f"127.0.0.1:{port}",
            )
        )
    finally:
        await server.stop(None)
    assert_all_answered(load)


async def test_idle_devices_stay_connected_and_hear_echoes(subject: Subject, cloud: Server) -> None:
    fingerprint = subject.bundle.fingerprint
    talkers: list[SplitTalker] = []

    def connection(number: int, idlers: Listener) -> SplitTalker:
        identity = Identity(f"idle-{number}", fingerprint)
        talkers.append(SplitTalker(cloud.address, identity, 1, idlers))
        return talkers[-1]

    idlers = Idlers(connection, 3)
    await idlers.open()
    await asyncio.wait_for(idlers.hear(), 30)
    assert idlers.connected == 3
    assert all(talker.echoes >= 2 * ECHOES for talker in talkers)
    await idlers.close()
