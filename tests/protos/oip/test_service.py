"""The core with a model of the tests: what it answers, bounds and counts."""

import asyncio
import contextlib
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protos.oip.models import (
    GAIN,
    PICTURE,
    SCORES,
    FakeModel,
    Listed,
    RequestedOutput,
    picture_of,
    pictures_request,
    raw_request,
    scores_in,
    without,
)

from isthmus import (
    ConfigError,
    TensorSpec,
)
from isthmus.oip import Limits, RefusalError, Reply, Service, Tensor
from isthmus.oip.messages import pb
from isthmus.oip.responses import set_parameter
from isthmus.oip.service import ENVELOPE_BYTES
from isthmus.oip.streams import FINAL
from isthmus.oip.wire import parsed


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
