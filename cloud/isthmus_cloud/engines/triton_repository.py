"""The parts of a bundle's tails as a model repository that a Triton server loads.

    NAME/1/model.onnx      the part
    NAME/config.pbtxt      its tensors

Triton's dynamic batching stays off, and the batch is an ordinary dimension of any size
(`max_batch_size` 0): the service has made the batch already, also of tensors that have nothing but
their batch dimension, such as steps, for which Triton's own batching has no form.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import Bundle, ConfigError, ModelError
from isthmus_cloud.engines.ort_session import CPU_PLACEMENT, ORT_FAILURES, on_one_line, open_session
from isthmus_cloud.engines.triton_names import model_name

__all__ = ["ExportedModel", "write_repository"]

_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
}
_OPEN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """One part in the repository; `is_new` is False where it was there already."""

    name: str
    part: str
    size_bytes: int
    is_new: bool


def write_repository(bundle: Bundle, out: Path) -> tuple[ExportedModel, ...]:
    """Add every part of the bundle's tails to the repository `out`, which is made if need be.

    A model appears whole or not at all; one of the same name is the same and stays. Raises
    ConfigError if `out` cannot be written, ModelError if a part cannot be described to Triton.
    """
    parts = dict.fromkeys(name for cut in bundle.manifest.cuts for name in cut.tail)
    names = {part: model_name(bundle, part) for part in parts}
    if len(set(names.values())) < len(names):
        raise ModelError(f"{bundle.path}: two parts of it would get one name as models of Triton")
    try:
        out.mkdir(parents=True, exist_ok=True)
        return tuple(_export(bundle, part, name, out) for part, name in names.items())
    except OSError as error:
        raise ConfigError(
            f"{out}: the model repository cannot be written ({error.strerror}); choose another "
            "directory"
        ) from error


def _export(bundle: Bundle, part: str, name: str, out: Path) -> ExportedModel:
    target = out / name
    is_new = not target.exists()
    if is_new:
        with tempfile.TemporaryDirectory(prefix=".isthmus-", dir=out) as folder:
            model = Path(folder) / name
            _write(bundle, part, name, model)
            model.rename(target)
    size_bytes = sum(file.stat().st_size for file in (target / "1").iterdir())
    return ExportedModel(name=name, part=part, size_bytes=size_bytes, is_new=is_new)


def _write(bundle: Bundle, part: str, name: str, model: Path) -> None:
    (model / "1").mkdir(parents=True)
    shutil.copyfile(bundle.file(part), model / "1" / "model.onnx")
    for entry in bundle.manifest.files:
        if entry.path.startswith(f"{part}."):  # weights in a file beside it, which it names
            source = bundle.file(entry.path)
            shutil.copyfile(source, model / "1" / source.name)
    (model / "config.pbtxt").write_text(_configuration(bundle, part, name), encoding="utf-8")


def _configuration(bundle: Bundle, part: str, name: str) -> str:
    """What Triton calls a model configuration, in protobuf's text format."""
    path = bundle.file(part)
    try:
        session = open_session(path, CPU_PLACEMENT, threads=1)
    except ORT_FAILURES as error:
        raise ModelError(f"{path}: ONNX Runtime cannot load it: {on_one_line(error)}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    scalars = [node.name for node in (*inputs, *outputs) if not node.shape]
    if scalars:
        raise ModelError(
            f"{path}: {', '.join(scalars)} has no dimension, and Triton takes no such tensor; run "
            "this bundle with the engine 'onnxruntime'"
        )
    lines = [
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        'default_model_filename: "model.onnx"',
        "max_batch_size: 0",
        *_tensors("input", inputs, path),
        *_tensors("output", outputs, path),
    ]
    return "\n".join(lines) + "\n"


def _tensors(word: str, nodes: Iterable[Any], path: Path) -> Iterable[str]:
    for node in nodes:
        if node.type not in _TYPES:
            raise ModelError(f"{path}: {node.name} is {node.type}, which Triton does not know")
        dims = [size if isinstance(size, int) else _OPEN for size in node.shape]
        yield (
            f"{word} [ {{ name: {json.dumps(node.name)} data_type: {_TYPES[node.type]} "
            f"dims: {dims} }} ]"
        )
