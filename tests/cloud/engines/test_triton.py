"""A Triton server as the engine: another process runs the parts, and may be gone."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests.cloud.engines.tail_of_the_cut import ENTRY, LATE, symbols
from tests.cloud.engines.triton_server import StandIn
from tests.commands import until
from tests.edge.doctor.certificates import make_certificate

from isthmus import Bundle, LinkError, ModelError, open_bundle
from isthmus.oip.messages import pb
from isthmus_cloud.engines.choice import open_engine
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.engines.seam import Engine, Value
from isthmus_cloud.engines.triton import TritonEngine, TritonProgram
from isthmus_cloud.engines.triton_address import TritonAddress
from isthmus_cloud.engines.triton_client import TritonClient
from isthmus_cloud.engines.triton_repository import write_repository


@pytest.fixture(scope="module")
def repository(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("triton") / "models"
    write_repository(bundle, out)
    return out


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[StandIn]:
    with StandIn(repository) as running:
        yield running


@pytest.fixture
def engine(server: StandIn, bundle: Bundle) -> Iterator[TritonEngine]:
    engine = TritonEngine(TritonAddress(target=f"127.0.0.1:{server.port}"), bundle)
    yield engine
    engine.close()


def answers(engine: Engine, bundle: Bundle, feeds: Mapping[str, Value]) -> np.ndarray:
    """Of the tail behind the cut, for two batches that are joined on the way."""
    real = engine.load(bundle.file(ENTRY)).run(feeds)[0]
    joined = engine.join([real, real], 0)
    return engine.to_host(engine.load(bundle.file(LATE)).run({"relu_0": joined})[0])


def test_its_answers_are_those_of_onnx_runtime(engine: TritonEngine, bundle: Bundle) -> None:
    mine = OrtEngine(Cores(1))
    assert answers(engine, bundle, symbols(3)).shape == (6, 10)
    assert np.allclose(
        answers(engine, bundle, symbols(3)), answers(mine, bundle, symbols(3)), atol=1e-6
    )
    for part in (ENTRY, LATE):
        theirs, ours = engine.load(bundle.file(part)), mine.load(bundle.file(part))
        assert list(theirs.inputs.items()) == list(ours.inputs.items())
        assert theirs.outputs == ours.outputs


def test_it_says_how_many_items_it_takes(engine: TritonEngine, bundle: Bundle) -> None:
    late = engine.load(bundle.file(LATE))
    assert late.sizes == tuple(range(1, 17))
    with pytest.raises(ModelError, match=r"INVALID_ARGUMENT, .* at most 16"):
        late.run({"relu_0": np.zeros((17, 8, 16, 16), np.float32)})


def test_it_is_chosen_and_compared(server: StandIn, bundle: Bundle) -> None:
    engine = open_engine(f"triton://127.0.0.1:{server.port}", "auto", Cores(1), bundle)
    assert engine.provider == "Triton"
    engine.close()


def test_a_bundle_that_it_does_not_hold_is_refused_with_the_way_out(
    server: StandIn, other_bundle: Path
) -> None:
    other = open_bundle(other_bundle, "cloud")
    with pytest.raises(ModelError, match=r"has no model tiny-\w{12}-tail-0 ready; .*export triton"):
        open_engine(f"triton://127.0.0.1:{server.port}", "auto", Cores(1), other)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((1, 8, 4, 4), np.float32), "did not answer ModelInfer: INVALID_ARGUMENT, unexp"),
        (np.zeros((1, 8, 16, 16)), "relu_0 is FP32, got float64"),
        (None, "relu_0 is FP32, got NoneType"),
    ],
)
def test_what_it_refuses_is_a_model_error_and_the_next_batch_runs(
    engine: TritonEngine, bundle: Bundle, value: Value, words: str
) -> None:
    late = engine.load(bundle.file(LATE))
    with pytest.raises(ModelError, match=words):
        late.run({"relu_0": value})
    assert np.asarray(late.run({"relu_0": np.zeros((1, 8, 16, 16), np.float32)})[0]).size == 10


def test_one_that_dies_is_an_error_and_one_that_comes_back_is_found(
    repository: Path, bundle: Bundle
) -> None:
    with StandIn(repository) as first:
        engine = TritonEngine(TritonAddress(target=f"127.0.0.1:{first.port}"), bundle)
        late = engine.load(bundle.file(LATE))
        feeds = {"relu_0": np.zeros((1, 8, 16, 16), np.float32)}
        before = late.run(feeds)
    with pytest.raises(LinkError, match="did not answer ModelInfer: UNAVAILABLE"):
        late.run(feeds)

    def is_back() -> bool:
        try:
            return np.array_equal(np.asarray(late.run(feeds)[0]), np.asarray(before[0]))
        except LinkError:
            return False

    with StandIn(repository, first.port):
        until(is_back, "the server that came back answers")
    engine.close()
    with pytest.raises(LinkError, match="did not answer ModelInfer"):
        late.run(feeds)


def test_one_that_does_not_answer_is_not_waited_for(bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        engine = TritonEngine(TritonAddress(target=target, timeout_s=0.1), bundle)
        with pytest.raises(LinkError, match="did not answer ModelReady"):
            engine.load(bundle.file(LATE))
        engine.close()


def test_by_tls_only_a_server_with_the_right_certificate_is_asked(
    repository: Path, bundle: Bundle, tmp_path: Path
) -> None:
    right, other = (make_certificate(tmp_path / name) for name in ("right", "other"))
    with StandIn(repository, 0, right.pem, right.key) as secured:
        address = f"triton://127.0.0.1:{secured.port}"
        engine = open_engine(f"{address}?tls={right.pem}", "auto", Cores(1), bundle)
        engine.close()
        for words in ("", f"?tls={other.pem}"):
            with pytest.raises(LinkError, match="did not answer ModelReady: UNAVAILABLE"):
                open_engine(address + words, "auto", Cores(1), bundle)


class Answering:
    """A client whose server says this of a model, and answers that."""

    def __init__(self, response: pb.ModelInferResponse, kind: str = "FP32") -> None:
        self._response = response
        self._kind = kind

    def metadata(self, _: str) -> pb.ModelMetadataResponse:
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            inputs=[tensor(name="rate", datatype="INT64", shape=[1])],
            outputs=[tensor(name="y", datatype=self._kind, shape=[-1, 2])],
        )

    def max_batch(self, _: str) -> int:
        return 0

    def infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        assert list(request.inputs[0].shape) == [1]
        return self._response


def program(response: pb.ModelInferResponse, kind: str = "FP32") -> TritonProgram:
    return TritonProgram(cast(TritonClient, cast(Any, Answering(response, kind))), "a part")


def response(
    shape: Sequence[int] = (3, 2), size: int = 24, datatype: str = "FP32", name: str = "y"
) -> pb.ModelInferResponse:
    output = pb.ModelInferResponse.InferOutputTensor(name=name, datatype=datatype, shape=shape)
    return pb.ModelInferResponse(outputs=[output], raw_output_contents=[bytes(size)])


RATE = {"rate": np.array([16000])}


def test_an_answer_is_read_where_it_lies() -> None:
    part = program(response())
    assert part.sizes == (1,)
    assert np.asarray(part.run(RATE)[0]).shape == (3, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        response(size=20),
        response(shape=(3, 3), size=36),
        response(shape=(-3, -2)),
        response(shape=(6,)),
        response(datatype="INT32"),
        response(name="z"),
        pb.ModelInferResponse(),
        pb.ModelInferResponse(outputs=response().outputs),
    ],
)
def test_an_answer_that_was_not_announced_is_a_model_error(wrong: pb.ModelInferResponse) -> None:
    with pytest.raises(ModelError, match=r"a part.*(announced was FP32 \[-1, 2\]|raw contents)"):
        program(wrong).run(RATE)


def test_a_model_of_other_types_is_refused() -> None:
    with pytest.raises(ModelError, match="y is BYTES, which no part of a tail reads"):
        program(response(), kind="BYTES")
