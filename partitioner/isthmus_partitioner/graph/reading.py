"""A model as it lies on disk: read, its weights' files checked, not yet trusted.

A TFLite file is imported: what is read of it is the ONNX graph that answers as it does.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from isthmus import ModelError, sha256_of
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.tflite_source import import_tflite

__all__ = ["ModelFile", "read_file"]

_TFLITE = b"TFL3"  # at byte 4 of a TFLite file


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The graph of a file, whose external weights were checked but not read.

    `sha256` is that of the file or, where weights lie in files of their own, of the sums of all.
    Where `is_imported` the file is no ONNX file, and only `model` can be run; `notes` say how far
    it is from the file.
    """

    path: Path
    sha256: str
    model: onnx.ModelProto
    is_imported: bool = False
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where external weights lie."""
        return self.path.parent

    @property
    def opset(self) -> int:
        """Version of the standard operators; 0 if the model uses none."""
        versions = (o.version for o in self.model.opset_import if o.domain in {"", "ai.onnx"})
        return next(versions, 0)

    def with_weights(self) -> onnx.ModelProto:
        """A copy of the model that needs no other file; ModelError if the weights are gone."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        try:
            onnx.load_external_data_for_model(model, str(self.folder))
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read ({first_line(error)})") from error
        return model


def read_file(path: Path) -> ModelFile:
    """Read the graph of an ONNX file, or import that of a TFLite file.

    Raises ModelError that names the file if it cannot be read or imported, holds no graph, or has
    weights in a file that is missing, shorter than the graph says or outside of the model's folder.
    """
    if _is_tflite(path):
        imported = import_tflite(path)
        return ModelFile(
            path, imported.sha256, imported.model, is_imported=True, notes=imported.notes
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file, or not all of it; export it again") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(
            f"{path}: cannot be read ({reason}); name an .onnx or .tflite file"
        ) from error
    if model.ir_version == 0 or not (model.graph.node or model.graph.output):
        raise ModelError(f"{path}: holds no ONNX graph; name an .onnx file, or export it again")
    return ModelFile(path, _fingerprint(path, _external_files(model, path)), model)


def _is_tflite(path: Path) -> bool:
    """Whether a file is called .tflite, or says that it is one."""
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == ".tflite" or file.read(8)[4:] == _TFLITE
    except OSError:  # whoever reads it says why
        return False


def _external_files(model: onnx.ModelProto, path: Path) -> list[Path]:
    """All files that the model's weights lie in, in order of their names."""
    ends: dict[str, int] = {}
    for tensor in _tensors_of_model(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location, end = _place(tensor, path)
            ends[location] = max(end, ends.get(location, 0))
    return [_checked(path, location, end) for location, end in sorted(ends.items())]


def _place(tensor: onnx.TensorProto, path: Path) -> tuple[str, int]:
    """In which file a tensor lies, and where it ends there, in bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        end = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
        return entries["location"], end
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{path}: says badly where the weights {tensor.name!r} lie ({entries}); export it again"
        ) from error


def _checked(path: Path, location: str, end: int) -> Path:
    folder = path.parent.resolve()
    target = (folder / location).resolve()
    if Path(location).is_absolute() or not target.is_relative_to(folder):
        raise ModelError(
            f"{path}: wants weights from {location!r}, outside of its folder; "
            "keep them beside the model"
        )
    if not target.is_file():
        raise ModelError(f"{path}: its weights {location!r} are missing; put that file beside it")
    size = target.stat().st_size
    if size < end:
        raise ModelError(
            f"{path}: its weights {location!r} have {size:,} bytes, not {end:,}; copy them again"
        )
    return target


def _tensors_of_model(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _tensors(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)


def _fingerprint(path: Path, external: list[Path]) -> str:
    own = _sha256(path)
    if not external:
        return own
    return hashlib.sha256("".join([own, *map(_sha256, external)]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({first_line(error)})") from error
