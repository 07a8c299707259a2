"""Programs written for Triton talk to a device: its own client drives a real agent's endpoint.

The client's messages and ours have the same names; this process holds both.
"""

import io
import queue
import re
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from numpy.typing import NDArray
from PIL import Image
from tests.commands import PATIENCE_S, Command
from tests.integration import oip_process
from tests.reference import Reference
from tests.tinybundle import tiny_pictures
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

from isthmus.oip import Limits
from isthmus.oip.messages import pb
from isthmus.oip.wire import MAX_FIELDS

Picture = NDArray[np.uint8]
FRAMES = 40
DOCUMENT = Path(__file__).parents[2] / "docs" / "oip.md"


class Device(Command):
    """The endpoint, ready on `addresses`."""

    module = oip_process.__name__

    def __init__(self, bundle: Path, *listen: str) -> None:
        super().__init__(bundle, *listen)
        try:
            self.addresses = self.line(oip_process.READY).removeprefix(oip_process.READY).split()
        except BaseException:
            self.__exit__()
            raise


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "oip.sock"


@pytest.fixture(scope="module")
def device(tiny_bundle: Path, socket: Path) -> Iterator[Device]:
    with Device(tiny_bundle, f"unix:{socket}", "127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def reference(tiny_bundle: Path) -> Reference:
    return Reference(tiny_bundle)


@pytest.fixture(params=["unix socket", "loopback"])
def url(device: Device, request: pytest.FixtureRequest) -> str:
    return device.addresses[["unix socket", "loopback"].index(request.param)]


@pytest.fixture
def client(url: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(url) as connected:
        yield connected


def inputs(picture: Picture) -> list[triton.InferInput]:
    tensor = triton.InferInput("picture", picture.shape, "UINT8")
    return [tensor.set_data_from_numpy(picture)]


def probabilities(result: triton.InferResult) -> NDArray[np.float32]:
    values: NDArray[np.float32] = result.as_numpy("probabilities")
    return values


def test_the_server_and_its_model_introduce_themselves(
    client: triton.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "2")
    assert client.get_server_metadata().name == "isthmus"
    told = client.get_model_metadata("tiny")
    assert [(i.name, i.datatype, list(i.shape)) for i in told.inputs] == [
        ("picture", "UINT8", [-1, 32, 32, 3])
    ]
    config = client.get_model_config("tiny").config
    assert config.input[0].data_type == triton.model_config_pb2.TYPE_UINT8
    assert [model.name for model in client.get_model_repository_index().models] == ["tiny"]


def test_its_answers_are_the_unsplit_models(
    client: triton.InferenceServerClient, reference: Reference
) -> None:
    for picture in tiny_pictures(3):
        result = client.infer("tiny", inputs(picture), request_id="mine", client_timeout=PATIENCE_S)
        expected = reference.expected("local", picture)
        np.testing.assert_allclose(probabilities(result), expected, atol=1e-5)
        response = result.get_response()
        assert response.id == "mine"
        assert response.parameters["isthmus.place"].string_param == "device"
        assert response.parameters["isthmus.candidate"].string_param == "local"
        assert pb.ModelInferResponse.FromString(response.SerializeToString()).id == "mine"


def test_a_batch_of_pictures_is_answered_picture_by_picture(
    client: triton.InferenceServerClient, reference: Reference
) -> None:
    pictures = tiny_pictures(4)
    found = probabilities(client.infer("tiny", inputs(np.concatenate(pictures))))
    expected = np.concatenate([reference.expected("local", picture) for picture in pictures])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_classification_names_the_classes(
    client: triton.InferenceServerClient, reference: Reference
) -> None:
    (picture,) = tiny_pictures(1)
    wanted = triton.InferRequestedOutput("probabilities", class_count=2)
    found = client.infer("tiny", inputs(picture), outputs=[wanted]).as_numpy("probabilities")
    best = int(reference.expected("local", picture).argmax())
    assert found.shape == (1, 2)
    assert found[0, 0].decode().split(":")[1:] == [str(best), f"class {best}"]


@pytest.mark.parametrize(("kind", "tolerance"), [("png", 1e-5), ("jpeg", 1e-2)])
def test_a_picture_file_is_as_good_as_its_pixels(
    client: triton.InferenceServerClient, kind: str, tolerance: float
) -> None:
    """The file shows more than the model sees: of 64 rows and 96 columns its middle."""
    shown = np.full((64, 96, 3), (0, 255, 0), np.uint8)
    middle = shown[16:48, 32:64]
    middle[:], middle[:, 12:] = (200, 90, 10), (20, 60, 220)
    file = io.BytesIO()
    Image.fromarray(shown).save(file, kind, quality=95)
    tensor = triton.InferInput("picture", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([file.getvalue()], np.object_))
    found = probabilities(client.infer("tiny", [tensor]))
    same = probabilities(client.infer("tiny", inputs(middle[np.newaxis])))
    np.testing.assert_allclose(found, same, atol=tolerance)


def test_what_is_wrong_is_told_with_its_status(client: triton.InferenceServerClient) -> None:
    (picture,) = tiny_pictures(1)
    broken = triton.InferInput("picture", [1], "BYTES")
    broken.set_data_from_numpy(np.array([b"no picture"], np.object_))
    cases = [
        ("nobody", inputs(picture), "NOT_FOUND", "Request for unknown model: 'nobody'"),
        ("tiny", inputs(picture[:, :16]), "INVALID_ARGUMENT", "unexpected shape for input"),
        ("tiny", [broken], "INVALID_ARGUMENT", "cannot be decoded as a picture"),
    ]
    for name, given, status, words in cases:
        with pytest.raises(InferenceServerException, match=words) as refused:
            client.infer(name, given)
        assert refused.value.status() == f"StatusCode.{status}"


def test_a_stream_answers_every_request(
    client: triton.InferenceServerClient, reference: Reference
) -> None:
    pictures = tiny_pictures(4)
    expected = [reference.expected("local", picture) for picture in pictures]
    ended: queue.Queue[tuple[triton.InferResult | None, Exception | None]] = queue.Queue()
    client.start_stream(lambda result, error: ended.put((result, error)))
    for index in range(FRAMES):
        name = "nobody" if index == 7 else "tiny"
        client.async_stream_infer(
            name,
            inputs(pictures[index % 4]),
            request_id=str(index),
            timeout=1_000_000,
            enable_empty_final_response=True,
        )
    answers = [ended.get(timeout=PATIENCE_S) for _ in range(FRAMES)]
    client.stop_stream()
    (error,) = (error for _, error in answers if error is not None)
    assert "Request for unknown model: 'nobody'" in str(error)
    order = [7 if r is None else int(r.get_response().id) for r, _ in answers]
    assert order == list(range(FRAMES))
    results = {int(r.get_response().id): r for r, _ in answers if r is not None}
    assert sorted(results) == [index for index in range(FRAMES) if index != 7]
    for index, result in results.items():
        np.testing.assert_allclose(probabilities(result), expected[index % 4], atol=1e-5)
        assert result.get_response().parameters["triton_final_response"].bool_param


async def test_an_asynchronous_program_is_answered_too(url: str, reference: Reference) -> None:
    pictures = tiny_pictures(3)

    async def requests() -> AsyncIterator[dict[str, object]]:
        for index, picture in enumerate(pictures):
            yield {"model_name": "tiny", "inputs": inputs(picture), "request_id": str(index)}

    async with aio.InferenceServerClient(url) as client:
        assert await client.is_server_ready()
        result = await client.infer("tiny", inputs(pictures[0]))
        np.testing.assert_allclose(
            probabilities(result), reference.expected("local", pictures[0]), atol=1e-5
        )
        found = {}
        async for result, error in client.stream_infer(requests()):
            assert error is None
            found[int(result.get_response().id)] = probabilities(result)
    assert sorted(found) == [0, 1, 2]
    for index, picture in enumerate(pictures):
        expected = reference.expected("local", picture)
        np.testing.assert_allclose(found[index], expected, atol=1e-5)


def test_the_documents_example_prints_the_best_classes(
    device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str], reference: Reference
) -> None:
    (picture,) = tiny_pictures(1)
    Image.fromarray(picture[0]).save(tmp_path / "cat.png")
    example, _ = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    for written, here in (
        ("unix:/run/isthmus/oip.sock", device.addresses[0]),
        ("cat.jpg", str(tmp_path / "cat.png")),
        ("client_timeout=1.0", f"client_timeout={PATIENCE_S}"),
    ):
        assert example.count(written) == 1
        example = example.replace(written, here)
    exec(compile(example, str(DOCUMENT), "exec"), {})  # noqa: S102 - our own document
    first, *_, told = capsys.readouterr().out.splitlines()
    best = int(reference.expected("local", picture).argmax())
    assert first.split(":")[1:] == [str(best), f"class {best}"]
    assert re.fullmatch(r"device \d+\.\d+", told)


def test_the_documents_limits_are_those_of_the_code() -> None:
    cells = DOCUMENT.read_text(encoding="utf-8").split("## Limits")[1].split("`EndpointConfig(")[0]
    told = [line.split("|")[2].strip() for line in cells.splitlines() if line.startswith("|")][2:]
    limits, mebibyte = Limits(), 1024 * 1024
    assert told == [
        str(limits.max_requests),
        f"{limits.max_bytes // mebibyte} MiB",
        str(limits.max_stream_requests),
        f"{limits.idle_s:g} s (`idle_s`)",
        str(limits.max_items),
        f"{limits.max_message_bytes // mebibyte} MiB",
        str(MAX_FIELDS),
    ]


def test_a_socket_outlives_a_killed_device_and_the_next_one_takes_it(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "oip.sock"
    with Device(tiny_bundle, f"unix:{path}") as first:
        first.process.kill()
        first.process.wait(PATIENCE_S)
        assert stat.S_ISSOCK(path.stat().st_mode)
    with Device(tiny_bundle, f"unix:{path}") as second:
        with triton.InferenceServerClient(f"unix:{path}") as client:
            assert client.is_server_ready()
        ended = second.told(signal.SIGTERM)
        assert (ended.status, ended.out.strip(), ended.err) == (0, oip_process.STOPPED, "")
    assert not path.exists()
