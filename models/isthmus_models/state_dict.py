"""PyTorch state dicts (.pth) as numpy arrays, without torch and without trusting the file.

Theory of operation. A .pth file is a pickle that mentions its tensors, and the raw bytes of their
storages behind it (the legacy format: five pickles, then each storage as a count and its bytes) or
beside it (a zip archive with one member per storage). The unpickler here looks up no global: what
is on the allow list becomes a plain record, anything else is refused. Records are checked against
the bytes that are really there only when all is read, so a pickle cannot alter what was checked.
"""

import io
import pickle  # noqa: TID251 - restricted: no global is looked up, see _Unpickler.find_class
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ModelError

__all__ = ["StateDict", "read_state_dict"]

StateDict = Mapping[str, NDArray[np.generic]]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_COUNT = struct.Struct("<q")
_STORAGE_TYPES = {
    "BoolStorage": "?",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "ShortStorage": "<i2",
}
# What damaged or hostile bytes make the unpickler, zipfile, struct and numpy raise.
_DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, AttributeError, EOFError, ImportError,
    IndexError, KeyError, MemoryError, NotImplementedError, OverflowError, RecursionError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip


class _Storage(NamedTuple):
    """Announced, not yet seen: `length` elements under `key`."""

    type_name: str
    key: str
    length: int

    @property
    def data_type(self) -> np.dtype[np.generic]:
        return np.dtype(_STORAGE_TYPES[self.type_name])


class _TensorView(NamedTuple):
    """A tensor as its storage and how to walk it, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Storages = dict[str, NDArray[np.generic]]


def read_state_dict(path: Path) -> StateDict:
    """The arrays of a state dict by name; other entries are left out.

    Raises ModelError for a file that is missing, truncated, no state dict, or that mentions
    anything but tensors (then nothing of it has been executed).
    """
    try:
        content = path.read_bytes()
        is_zip = zipfile.is_zipfile(io.BytesIO(content))
        entries, storages = _read_zip(content) if is_zip else _read_legacy(content)
        views = {name: view for name, view in entries.items() if isinstance(view, _TensorView)}
        return {name: _array(view, storages) for name, view in views.items()}
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path}: cannot be read ({reason}); reinstall its package") from error
    except _DAMAGE as error:
        raise ModelError(
            f"{path}: not a whole PyTorch state dict ({error}); reinstall its package"
        ) from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


class _Unpickler(pickle.Unpickler):
    """Builds containers, numbers, strings and the records above; nothing else."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        if module == "torch" and name in _STORAGE_TYPES:
            return name
        # Bound methods, because a pickle can set attributes of a function or class, not of them.
        allowed: dict[tuple[str, str], Callable[..., object]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
        }
        if (module, name) not in allowed:
            raise ModelError(f"mentions {module}.{name}, which is not a tensor; use another file")
        return allowed[module, name]

    def persistent_load(self, pid: tuple[str, str, str, str, int]) -> _Storage:
        kind, type_name, key, _location, count = pid[:5]
        if kind != "storage":
            raise ValueError(f"unknown record {kind!r}")
        return self.storages.setdefault(key, _Storage(type_name, key, count))

    def _tensor(
        self,
        storage: _Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *_autograd: object,
    ) -> _TensorView:
        return _TensorView(storage, offset, shape, strides)

    def _parameter(self, data: _TensorView, *_autograd: object) -> _TensorView:
        return data


def _read_legacy(content: bytes) -> tuple[Mapping[str, object], Storages]:
    stream = io.BytesIO(content)
    if _Unpickler(stream).load() != _LEGACY_MAGIC or _Unpickler(stream).load() != _LEGACY_PROTOCOL:
        raise ValueError("wrong magic number")
    _system_info = _Unpickler(stream).load()
    unpickler = _Unpickler(stream)
    entries = _mapping(unpickler.load())
    storages: Storages = {}
    for key in _Unpickler(stream).load():
        storage = unpickler.storages[key]
        (count,) = _COUNT.unpack(stream.read(_COUNT.size))
        if count != storage.length:
            raise ValueError(f"storage {key} has {count} elements, announced {storage.length}")
        storages[key] = _elements(storage, stream.read(count * storage.data_type.itemsize))
    return entries, storages


def _read_zip(content: bytes) -> tuple[Mapping[str, object], Storages]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    pickled = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
    if pickled is None:
        raise ValueError("an archive without data.pkl")
    unpickler = _Unpickler(io.BytesIO(_stored_member(archive, pickled)))
    entries = _mapping(unpickler.load())
    folder = pickled.removesuffix("data.pkl")
    storages = {
        key: _elements(storage, _stored_member(archive, f"{folder}data/{key}"))
        for key, storage in unpickler.storages.items()
    }
    return entries, storages


def _stored_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """PyTorch never compresses; so nobody else can, and no small file takes all memory."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


def _mapping(entries: object) -> Mapping[str, object]:
    if not isinstance(entries, dict):
        raise ValueError(f"holds a {type(entries).__name__}")
    return dict(entries)


def _elements(storage: _Storage, content: bytes) -> NDArray[np.generic]:
    elements: NDArray[np.generic] = np.frombuffer(content, storage.data_type)
    if len(elements) != storage.length:
        raise ValueError(f"storage {storage.key} ends after {len(elements)} of {storage.length}")
    return elements


def _array(view: _TensorView, storages: Storages) -> NDArray[np.generic]:
    elements = storages[view.storage.key]
    if min((view.offset, *view.shape, *view.strides)) < 0 or len(view.shape) != len(view.strides):
        _outside(view)
    last = view.offset + sum(
        (length - 1) * stride for length, stride in zip(view.shape, view.strides, strict=True)
    )
    if 0 not in view.shape and last >= len(elements):
        _outside(view)
    steps = [stride * elements.itemsize for stride in view.strides]
    walked = np.lib.stride_tricks.as_strided(elements[view.offset :], view.shape, steps)
    return np.ascontiguousarray(walked)


def _outside(view: _TensorView) -> NoReturn:
    raise ValueError(f"a tensor of shape {view.shape} lies outside storage {view.storage.key}")
