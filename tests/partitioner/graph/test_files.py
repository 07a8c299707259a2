"""Weights in files of their own: read, checked, written, and never trusted."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner.graph.graphs import answers, parsed, weights

from isthmus import ModelError
from isthmus_partitioner import load_model
from isthmus_partitioner.graph.files import save_model, weight_bytes
from isthmus_partitioner.runtime import open_session, run_one

X = np.random.default_rng(2).standard_normal((1, 64)).astype(np.float32)


def dense() -> onnx.ModelProto:
    """Two layers with 32 KiB of weights and a bias that stays inside."""
    return parsed(
        """g (float[N, 64] x) => (float[N, 64] y) {
            h = MatMul (x, w)
            r = Relu (h)
            b = Add (r, bias)
            y = MatMul (b, v)
        }""",
        w=weights(64, 64),
        v=weights(64, 64, seed=1),
        bias=weights(64),
    )


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """The model and its weights in two files."""
    path = tmp_path / "model.onnx"
    assert save_model(dense(), path, limit_bytes=0) == [path, tmp_path / "model.onnx.data"]
    return path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file becomes longer than 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize(("limit_bytes", "end"), [(0, ".data"), (10**6, "")])
def test_a_model_that_does_not_fit_on_the_disk_leaves_the_older_one(
    tmp_path: Path, limit_bytes: int, end: str
) -> None:
    path = tmp_path / "model.onnx"
    older = {path, tmp_path / "model.onnx.data"}
    for file in older:
        file.write_bytes(b"older")
    with pytest.raises(OSError, match="too large") as failed:
        save_model(dense(), path, limit_bytes=limit_bytes)
    assert failed.value.filename == f"{path}{end}"
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == dict.fromkeys(
        older, b"older"
    )


def test_small_models_stay_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert save_model(dense(), path) == [path]
    assert onnx.load(path) == dense()


def test_weights_beyond_the_limit_go_to_a_file_beside(divided: Path) -> None:
    assert divided.stat().st_size < 2000
    written = onnx.load(divided)
    assert weight_bytes(written) == weight_bytes(dense())
    assert np.array_equal(answers(divided, {"x": X}, ["y"]), answers(dense(), {"x": X}, ["y"]))


def test_writing_does_not_change_the_model(tmp_path: Path) -> None:
    model = dense()
    save_model(model, tmp_path / "model.onnx", limit_bytes=0)
    assert model == dense()


def test_a_session_of_a_model_that_cannot_be_serialised_goes_through_files() -> None:
    session = open_session(dense(), threads=1, limit_bytes=0)
    assert np.array_equal(run_one(session, {"x": X}, ["y"]), answers(dense(), {"x": X}, ["y"]))


def test_a_full_temporary_folder_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/no/such/folder")
    with pytest.raises(ModelError, match=r"cannot hold 33,024 bytes of weights .*TMPDIR"):
        open_session(dense(), threads=1, limit_bytes=0)


def test_external_weights_are_read(divided: Path) -> None:
    network = load_model(divided)
    assert np.array_equal(
        answers(network.model, {"x": X}, ["y"]), answers(dense(), {"x": X}, ["y"])
    )
    assert not [t for t in network.model.graph.initializer if t.external_data]


def test_the_fingerprint_covers_external_weights(divided: Path) -> None:
    before = load_model(divided).sha256
    data = divided.with_name("model.onnx.data")
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.write_bytes(content)
    assert load_model(divided).sha256 != before


def _missing(path: Path) -> None:
    path.with_name("model.onnx.data").unlink()


def _truncated(path: Path) -> None:
    data = path.with_name("model.onnx.data")
    data.write_bytes(data.read_bytes()[:-100])


def _relocated(location: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        path.write_bytes(model.SerializeToString())

    return change


def _linked(path: Path) -> None:
    data = path.with_name("model.onnx.data")
    elsewhere = path.parent.parent / f"{path.parent.name}-elsewhere"
    data.rename(elsewhere)
    data.symlink_to(elsewhere)


def _nowhere(path: Path) -> None:
    model = onnx.load(path, load_external_data=False)
    del model.graph.initializer[0].external_data[:]
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_missing, r"its weights 'model.onnx.data' are missing; put that file beside it"),
        (_truncated, r"'model.onnx.data' have 32,668 bytes, not 32,768; copy them again"),
        (_relocated("../secret"), r"wants weights from '\.\./secret', outside of its folder"),
        (_relocated("/etc/passwd"), r"wants weights from '/etc/passwd', outside of its folder"),
        (_linked, r"wants weights from 'model.onnx.data', outside of its folder"),
        (_nowhere, r"says badly where the weights 'w' lie"),
    ],
)
def test_external_weights_that_cannot_be_are_refused(
    damage: Callable[[Path], None], message: str, divided: Path
) -> None:
    damage(divided)
    with pytest.raises(ModelError, match=message):
        load_model(divided)


def test_weights_of_branches_may_lie_outside_too(divided: Path) -> None:
    model = onnx.load(divided, load_external_data=False)
    (tensor,) = (t for t in model.graph.initializer if t.name == "v")
    node = onnx.helper.make_node("Constant", [], ["v2"], value=tensor)
    model.graph.node.insert(0, node)
    for attribute in node.attribute:
        attribute.t.external_data[0].value = "../up"
    model.graph.node[0].CopyFrom(node)
    divided.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"'\.\./up', outside of its folder"):
        load_model(divided)
