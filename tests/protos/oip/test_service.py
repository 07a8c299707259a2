"""The core with a model of the tests: what it answers, refuses, bounds and counts."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.oip.models import (
    GAIN,
    PICTURE,
    SCORES,
    FakeModel,
    InputTensor,
    Listed,
    picture_of,
    pictures_request,
    raw_request,
)

from isthmus import (
    AgentClosedError,
    ConfigError,
    ModelError,
    PictureError,
    QueueFullError,
    TensorSpec,
    WireError,
)
from isthmus.oip import Limits, RefusalError, Reply, Service, Tensor
from isthmus.oip.messages import pb
from isthmus.oip.refusal import Status
from isthmus.oip.responses import set_parameter
from isthmus.oip.service import ENVELOPE_BYTES
from isthmus.oip.streams import FINAL
from isthmus.oip.wire import parsed

RequestedOutput = pb.ModelInferRequest.InferRequestedOutputTensor


def scores_in(response: pb.ModelInferResponse) -> list[list[float]]:
    names = [output.name for output in response.outputs]
    index = names.index("scores")
    values = np.frombuffer(response.raw_output_contents[index], np.float32)
    rows: list[list[float]] = values.reshape(response.outputs[index].shape).tolist()
    return rows


async def test_a_request_is_answered_with_all_outputs_and_parameters() -> None:
    response = await Service(Listed(FakeModel())).infer(raw_request(picture=picture_of(7)))
    assert (response.model_name, response.model_version, response.id) == ("fake", "1", "an id")
    told = [(output.name, output.datatype, list(output.shape)) for output in response.outputs]
    assert told == [("scores", "FP32", [1, 4]), ("total", "INT64", [1])]
    assert scores_in(response) == [[7, 8, 9, 10]]
    assert response.raw_output_contents[1] == (7).to_bytes(8, "little")
    assert response.parameters["fake.first"].int64_param == 7
    assert response.parameters["fake.place"].string_param == "here"


async def test_a_batch_is_answered_item_by_item_and_stacked() -> None:
    model = FakeModel()
    response = await Service(Listed(model)).infer(
        raw_request(picture=picture_of(7, 3), gain=np.full((), 2, np.float32))
    )
    assert scores_in(response) == [[14, 16, 18, 20], [16, 18, 20, 22], [18, 20, 22, 24]]
    assert [np.shape(call.tensors["picture"]) for call in model.calls] == [(1, 2, 2, 3)] * 3
    assert response.parameters["fake.first"].string_param == "7,8,9"
    assert response.parameters["fake.place"].string_param == "here"


async def test_encoded_pictures_go_to_the_model_as_they_are() -> None:
    model = FakeModel()
    response = await Service(Listed(model)).infer(pictures_request([b"one", b"three"]))
    assert [call.tensors["picture"] for call in model.calls] == [b"one", b"three"]
    assert [row[0] for row in scores_in(response)] == [3, 5]


async def test_only_the_outputs_asked_for_are_sent_in_that_order() -> None:
    request = raw_request(picture=picture_of(7))
    request.outputs.append(RequestedOutput(name="total"))
    response = await Service(Listed(FakeModel())).infer(request)
    assert [output.name for output in response.outputs] == ["total"]
    assert len(response.raw_output_contents) == 1


async def test_a_classification_holds_the_greatest_values_with_labels() -> None:
    request = raw_request(picture=picture_of(7, 2))
    wanted = RequestedOutput(name="scores")
    wanted.parameters["classification"].int64_param = 2
    request.outputs.append(wanted)
    response = await Service(Listed(FakeModel())).infer(request)
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BYTES", [2, 2])
    lines = [b"10.000000:3", b"9.000000:2:cat", b"11.000000:3", b"10.000000:2:cat"]
    expected = b"".join(len(line).to_bytes(4, "little") + line for line in lines)
    assert response.raw_output_contents[0] == expected


def classified(output: TensorSpec) -> RequestedOutput:
    wanted = RequestedOutput(name=output.name)
    wanted.parameters["classification"].int64_param = 2
    return wanted


@pytest.mark.parametrize(
    ("inputs", "items", "shape"),
    [((PICTURE,), 1, [1, 2]), ((PICTURE, GAIN), 1, [2]), ((PICTURE, GAIN), 2, [2, 2])],
)
async def test_a_classification_has_a_batch_dimension_where_the_model_has_one(
    inputs: tuple[TensorSpec, ...], items: int, shape: list[int]
) -> None:
    request = raw_request(picture=picture_of(7, items))
    if GAIN not in inputs:
        without("gain")(request)
    request.outputs.append(classified(SCORES))
    response = await Service(Listed(FakeModel(inputs=inputs))).infer(request)
    assert list(response.outputs[0].shape) == shape


async def test_each_item_has_its_own_classes_wherever_the_batch_dimension_is() -> None:
    last = TensorSpec(name="scores", data_type="float32", shape=(4,), batch_axis=1)
    request = raw_request(picture=picture_of(7, 2))
    request.outputs.append(classified(last))
    response = await Service(Listed(Sideways(outputs=(last,)))).infer(request)
    assert b"10.000000:3" in response.raw_output_contents[0]
    assert b"11.000000:3" in response.raw_output_contents[0]


class Sideways(FakeModel):
    """Its scores are a column."""

    def _reply(self, tensors: Mapping[str, Tensor]) -> Reply:
        reply = super()._reply(tensors)
        return Reply({"scores": reply.outputs["scores"].T}, {}, reply.labels)


async def test_more_classes_than_there_are_become_all() -> None:
    request = raw_request(picture=picture_of(0))
    wanted = RequestedOutput(name="scores")
    wanted.parameters["classification"].int64_param = 2**62
    request.outputs.append(wanted)
    response = await Service(Listed(FakeModel())).infer(request)
    assert list(response.outputs[0].shape) == [4]


async def test_the_shorter_of_timeout_and_deadline_is_the_items_deadline() -> None:
    model = FakeModel()
    service = Service(Listed(model), now_s=lambda: 100.0)
    request = raw_request(picture=picture_of(0))
    await service.infer(request)
    await service.infer(request, 100.5)
    request.parameters["timeout"].int64_param = 250_000
    await service.infer(request)
    await service.infer(request, 100.5)
    await service.infer(request, 100.125)
    found = [call.deadline_s for call in model.calls]
    assert found == [None, 100.5, 100.25, 100.25, 100.125]
    assert model.calls[-1].parameters == {"timeout": 250_000}


def without(name: str) -> Callable[[pb.ModelInferRequest], None]:
    def change(request: pb.ModelInferRequest) -> None:
        index = [tensor.name for tensor in request.inputs].index(name)
        del request.inputs[index], request.raw_input_contents[index]

    return change


def renamed(before: str, after: str) -> Callable[[pb.ModelInferRequest], None]:
    def change(request: pb.ModelInferRequest) -> None:
        next(tensor for tensor in request.inputs if tensor.name == before).name = after

    return change


def mixed(request: pb.ModelInferRequest) -> None:
    request.inputs[0].contents.uint_contents.append(1)


def one_raw_too_many(request: pb.ModelInferRequest) -> None:
    request.raw_input_contents.append(b"")


def one_raw_too_few(request: pb.ModelInferRequest) -> None:
    del request.raw_input_contents[1]


def no_contents(request: pb.ModelInferRequest) -> None:
    del request.raw_input_contents[:]


def wanting(*names: str, classes: object = None) -> Callable[[pb.ModelInferRequest], None]:
    def change(request: pb.ModelInferRequest) -> None:
        for name in names:
            output = RequestedOutput(name=name)
            if isinstance(classes, int):
                output.parameters["classification"].int64_param = classes
            elif isinstance(classes, str):
                output.parameters["classification"].string_param = classes
            request.outputs.append(output)

    return change


def timing_out(value: int) -> Callable[[pb.ModelInferRequest], None]:
    def change(request: pb.ModelInferRequest) -> None:
        request.parameters["timeout"].int64_param = value

    return change


def valueless(request: pb.ModelInferRequest) -> None:
    request.parameters["nothing"].Clear()


def a_flag_as_timeout(request: pb.ModelInferRequest) -> None:
    request.parameters["timeout"].bool_param = True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("gain"), "expected 2 inputs but got 1 inputs for model 'fake'"),
        (renamed("gain", "grain"), "unexpected inference input 'grain' for model 'fake'"),
        (renamed("gain", "picture"), "'picture' already exists"),
        (renamed("gain", "x" * 100_000), "unexpected inference input 'xxx"),
        (mixed, "contents field must not be specified when using raw_input_contents"),
        (one_raw_too_many, "expected 2 raw_input_contents for model 'fake', got 3"),
        (one_raw_too_few, "expected 2 raw_input_contents for model 'fake', got 1"),
        (no_contents, "number of elements 0"),
        (wanting("nothing"), "unexpected inference output 'nothing'"),
        (wanting("total", "total"), "asked for twice"),
        (wanting("scores", classes=-1), "'classification' is a number of classes, got -1"),
        (wanting("scores", classes="many"), "got many"),
        (timing_out(-1), "'timeout' is a number of microseconds"),
        (timing_out(2**62), "'timeout' is a number of microseconds"),
        (a_flag_as_timeout, "'timeout' is a number of microseconds"),
        (valueless, "parameter 'nothing' has no value"),
    ],
)
async def test_a_request_that_is_none_for_the_model_is_refused(
    change: Callable[[pb.ModelInferRequest], None], words: str
) -> None:
    model = FakeModel()
    request = raw_request(picture=picture_of(0))
    change(request)
    with pytest.raises(RefusalError, match=words) as refused:
        await Service(Listed(model)).infer(request)
    assert refused.value.status == "INVALID_ARGUMENT"
    assert len(str(refused.value)) < 500
    assert model.calls == []


async def test_inputs_of_different_batches_are_refused() -> None:
    other = TensorSpec(name="other", data_type="float32", shape=())
    request = raw_request(picture=picture_of(0, 2))
    request.inputs.append(InputTensor(name="other", datatype="FP32", shape=[3]))
    request.raw_input_contents.append(bytes(12))
    service = Service(Listed(FakeModel(inputs=(PICTURE, GAIN, other))))
    with pytest.raises(RefusalError, match="different batch sizes: 'picture' 2, 'other' 3"):
        await service.infer(request)


async def test_a_model_whose_outputs_cannot_be_stacked_takes_one_item() -> None:
    folded = TensorSpec(name="scores", data_type="float32", shape=(1, 4), batch_axis=None)
    service = Service(Listed(FakeModel(outputs=(folded,))))
    assert scores_in(await service.infer(raw_request(picture=picture_of(0))))
    with pytest.raises(RefusalError, match="one item at a time, got 2"):
        await service.infer(raw_request(picture=picture_of(0, 2)))


async def test_a_batch_above_the_bound_is_refused() -> None:
    service = Service(Listed(FakeModel()), Limits(max_items=2))
    await service.infer(raw_request(picture=picture_of(0, 2)))
    with pytest.raises(RefusalError, match="batch of 3, at most 2"):
        await service.infer(raw_request(picture=picture_of(0, 3)))


async def test_shared_memory_is_said_not_to_be_served() -> None:
    for place in ("inputs", "outputs"):
        request = raw_request(picture=picture_of(0))
        request.outputs.append(RequestedOutput(name="scores"))
        getattr(request, place)[0].parameters["shared_memory_region"].string_param = "mine"
        with pytest.raises(RefusalError, match="shared memory is not served") as refused:
            await Service(Listed(FakeModel())).infer(request)
        assert refused.value.status == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("nobody", "", "Request for unknown model: 'nobody' is not found"),
        ("fake", "2", "Request for unknown model: 'fake' version 2 is not found"),
        ("n" * 100_000, "v" * 100_000, "Request for unknown model: 'nnn"),
    ],
)
async def test_an_unknown_model_is_not_found(name: str, version: str, words: str) -> None:
    service = Service(Listed(FakeModel()))
    calls = [
        service.infer(pb.ModelInferRequest(model_name=name, model_version=version)),
        service.model_metadata(pb.ModelMetadataRequest(name=name, version=version)),
        service.model_config(pb.ModelConfigRequest(name=name, version=version)),
        service.model_statistics(pb.ModelStatisticsRequest(name=name, version=version)),
    ]
    for call in calls:
        with pytest.raises(RefusalError, match=words) as refused:
            await call
        assert refused.value.status == "NOT_FOUND"
        assert len(str(refused.value)) < 500
    ready = await service.model_ready(pb.ModelReadyRequest(name=name, version=version))
    assert not ready.ready


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WireError("wrong"), "INVALID_ARGUMENT"),
        (PictureError("wrong"), "INVALID_ARGUMENT"),
        (ConfigError("wrong"), "INVALID_ARGUMENT"),
        (QueueFullError("wrong"), "UNAVAILABLE"),
        (AgentClosedError("wrong"), "UNAVAILABLE"),
        (ModelError("wrong"), "INTERNAL"),
    ],
)
@pytest.mark.parametrize(
    ("items", "where"), [(1, ""), (2, r"item [01] \(of 2, counted from 0\): ")]
)
async def test_an_error_of_the_house_is_told_with_its_status(
    error: Exception, status: Status, items: int, where: str
) -> None:
    service = Service(Listed(FakeModel(error=error)))
    with pytest.raises(RefusalError, match=rf"^{where}wrong$") as refused:
        await service.infer(raw_request(picture=picture_of(0, items)))
    assert refused.value.status == status


async def test_a_defect_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(Listed(FakeModel(error=KeyError("a secret"))))
    with pytest.raises(RefusalError, match="its log says why") as refused:
        await service.infer(raw_request(picture=picture_of(0)))
    assert refused.value.status == "INTERNAL"
    assert "a secret" in caplog.text


async def test_no_more_than_the_bound_is_answered_at_once() -> None:
    model = FakeModel(gate=asyncio.Event())
    service = Service(Listed(model), Limits(max_requests=2))
    request = raw_request(picture=picture_of(0))
    under_way = [asyncio.create_task(service.infer(request)) for _ in range(2)]
    await asyncio.sleep(0)
    assert service.under_way == 2
    with pytest.raises(RefusalError, match="Exceeds maximum queue size") as refused:
        await service.infer(request)
    assert refused.value.status == "UNAVAILABLE"
    assert model.gate is not None
    model.gate.set()
    await asyncio.gather(*under_way)
    assert service.under_way == 0
    assert await service.infer(request)


async def test_no_more_bytes_than_the_bound_are_held_at_once() -> None:
    request = raw_request(picture=picture_of(0))
    request.parameters["note"].string_param = "x" * 1000  # larger than its answer
    size = request.ByteSize()
    model = FakeModel(gate=asyncio.Event())
    limits = Limits(max_bytes=2 * size - 1, max_message_bytes=size)
    service = Service(Listed(model), limits)
    under_way = asyncio.create_task(service.infer(request))
    await asyncio.sleep(0)
    with pytest.raises(RefusalError, match="Exceeds maximum queue size"):
        await service.infer(request)
    assert model.gate is not None
    model.gate.set()
    assert await under_way


async def test_a_client_that_goes_ends_the_wait_of_every_item() -> None:
    model = FakeModel(gate=asyncio.Event())
    service = Service(Listed(model))
    under_way = asyncio.create_task(service.infer(raw_request(picture=picture_of(0, 3))))
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(model.calls) == 3
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert (model.given_up, service.under_way) == (3, 0)


async def test_while_it_drains_it_answers_what_it_has_and_takes_no_more() -> None:
    model = FakeModel(gate=asyncio.Event())
    service = Service(Listed(model))
    request = raw_request(picture=picture_of(0))
    under_way = asyncio.create_task(service.infer(request))
    await asyncio.sleep(0)
    change = service.change
    service.drain()
    assert change.is_set()
    assert not service.is_ready
    with pytest.raises(RefusalError, match="draining") as refused:
        await service.infer(request)
    assert refused.value.status == "UNAVAILABLE"
    assert model.gate is not None
    model.gate.set()
    assert scores_in(await under_way) == [[0, 1, 2, 3]]


async def test_a_server_without_models_is_live_and_not_ready() -> None:
    models = Listed()
    service = Service(models)
    assert (await service.server_live(pb.ServerLiveRequest())).live
    assert not (await service.server_ready(pb.ServerReadyRequest())).ready
    models.models = [FakeModel(), FakeModel(name="other", is_ready=False)]
    assert not (await service.server_ready(pb.ServerReadyRequest())).ready
    models.models = [FakeModel()]
    assert (await service.server_ready(pb.ServerReadyRequest())).ready
    assert (await service.model_ready(pb.ModelReadyRequest(name="fake"))).ready


async def test_an_answer_that_fits_into_no_message_is_refused_before_it_is_sent() -> None:
    request = raw_request(picture=picture_of(0, 2))
    size = (await Service(Listed(FakeModel())).infer(request)).ByteSize()
    limits = Limits(max_message_bytes=size + ENVELOPE_BYTES)
    assert await Service(Listed(FakeModel()), limits).infer(request)
    service = Service(Listed(FakeModel()), Limits(max_message_bytes=size + ENVELOPE_BYTES - 1))
    with pytest.raises(RefusalError, match="ask for fewer items") as refused:
        await service.infer(request)
    assert refused.value.status == "RESOURCE_EXHAUSTED"


def test_the_envelope_of_a_stream_is_no_larger_than_is_thought() -> None:
    response = pb.ModelInferResponse(raw_output_contents=[bytes(2**21)])
    size = response.ByteSize()
    set_parameter(response, FINAL, value=True)
    enveloped = pb.ModelStreamInferResponse(infer_response=response)
    assert enveloped.ByteSize() <= size + ENVELOPE_BYTES


async def test_a_model_with_batches_in_front_says_how_many_and_what_is_a_picture() -> None:
    service = Service(Listed(FakeModel(inputs=(PICTURE,))), Limits(max_items=5))
    told = await service.model_metadata(pb.ModelMetadataRequest(name="fake"))
    assert [list(each.shape) for each in told.inputs] == [[-1, 2, 2, 3]]
    assert [list(each.shape) for each in told.outputs] == [[-1, 4], [-1]]
    config = (await service.model_config(pb.ModelConfigRequest(name="fake"))).config
    assert config.max_batch_size == 5
    assert [list(each.dims) for each in config.input] == [[2, 2, 3]]
    assert [list(each.dims) for each in config.output] == [[4], []]
    assert [each.format for each in config.input] == [pb.ModelInput.FORMAT_NHWC]


async def test_without_batches_in_front_the_shapes_are_those_of_a_batch_of_one() -> None:
    service = Service(Listed(FakeModel()))
    told = await service.model_metadata(pb.ModelMetadataRequest(name="fake"))
    assert (told.platform, list(told.versions)) == ("isthmus", ["1"])
    assert [(i.name, i.datatype, list(i.shape)) for i in told.inputs] == [
        ("picture", "UINT8", [1, 2, 2, 3]),
        ("gain", "FP32", []),
    ]
    config = (await service.model_config(pb.ModelConfigRequest(name="fake"))).config
    assert [list(each.dims) for each in config.input] == [[1, 2, 2, 3], []]
    assert [list(each.dims) for each in config.output] == [[1, 4], [1]]
    assert config.max_batch_size == 0
    assert [each.format for each in config.input] == [pb.ModelInput.FORMAT_NONE] * 2


def test_a_request_may_hold_as_many_numbers_as_the_largest_model_takes() -> None:
    models = Listed()
    service = Service(models, Limits(max_items=5))
    assert service.most_elements == 0
    models.models = [FakeModel(), FakeModel(inputs=(GAIN,))]
    assert service.most_elements == 5 * (PICTURE.size + 1)


async def test_statistics_are_not_announced_to_clients_that_take_versions_for_numbers() -> None:
    told = await Service(Listed(FakeModel())).server_metadata(pb.ServerMetadataRequest())
    assert "model_configuration" in told.extensions
    assert "statistics" not in told.extensions


async def test_what_was_answered_and_refused_is_counted() -> None:
    service = Service(Listed(FakeModel(), FakeModel(name="idle")))
    await service.infer(raw_request(picture=picture_of(0, 3)))
    with pytest.raises(RefusalError):
        await service.infer(pb.ModelInferRequest(model_name="fake"))
    told = await service.model_statistics(pb.ModelStatisticsRequest())
    busy, idle = told.model_stats
    assert (busy.name, busy.inference_count, idle.inference_count) == ("fake", 3, 0)
    stats = busy.inference_stats
    assert (stats.success.count, stats.fail.count, stats.queue.count) == (1, 1, 1)
    assert stats.success.ns > 0


async def test_models_are_listed_and_neither_loaded_nor_unloaded_by_clients() -> None:
    service = Service(Listed(FakeModel(), FakeModel(name="broken", is_ready=False)))
    index = await service.repository_index(pb.RepositoryIndexRequest())
    assert [(m.name, m.state) for m in index.models] == [
        ("fake", "READY"),
        ("broken", "UNAVAILABLE"),
    ]
    ready = await service.repository_index(pb.RepositoryIndexRequest(ready=True))
    assert [m.name for m in ready.models] == ["fake"]
    with pytest.raises(RefusalError, match="explicit model load / unload is not allowed"):
        await service.repository_model_load(pb.RepositoryModelLoadRequest())
    with pytest.raises(RefusalError, match="explicit model load / unload is not allowed"):
        await service.repository_model_unload(pb.RepositoryModelUnloadRequest())


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_request_with_any_bytes_changed_is_answered_or_refused(
    changes: list[tuple[int, int]],
) -> None:
    raw = bytearray(raw_request(picture=picture_of(7, 2)).SerializeToString())
    for index, value in changes:
        raw[index % len(raw)] = value
    request = parsed(pb.ModelInferRequest, bytes(raw))
    if request is None:
        return
    with contextlib.suppress(RefusalError):
        response = asyncio.run(Service(Listed(FakeModel())).infer(request))
        assert 1 <= len(response.raw_output_contents) <= 2


def test_limits_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_items must be at least 1"):
        Limits(max_items=0)
    with pytest.raises(ConfigError, match="max_bytes must be at least max_message_bytes"):
        Limits(max_bytes=1)


def test_the_specs_of_the_tests_are_what_they_say() -> None:
    assert (PICTURE.nbytes, SCORES.graph_shape) == (12, (1, 4))
