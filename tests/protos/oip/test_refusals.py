"""The core with a model of the tests: what it refuses, and what it says of what failed."""

from collections.abc import Callable

import pytest
from tests.protos.oip.models import (
    GAIN,
    PICTURE,
    FakeModel,
    InputTensor,
    Listed,
    RequestedOutput,
    picture_of,
    raw_request,
    scores_in,
    without,
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
from isthmus.oip import Limits, RefusalError, Service
from isthmus.oip.messages import pb
from isthmus.oip.refusal import Status


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
