"""Models that are right for the commands, and models that are wrong in one way each."""

from pathlib import Path

import msgspec
import onnx
from onnx import TensorProto, helper
from tests.partitioner.networks import SIZE, Builder

from isthmus import Manifest, encode_manifest, sha256_of
from isthmus.manifest import MANIFEST_NAME

LABELS = ("ant", "bee", "cat", "dog", "eel")


def float_image() -> onnx.ModelProto:
    """A classifier of float images [N,3,32,32], as most exporters write them."""
    build = Builder()
    stem = build.op("Relu", [build.conv("image", "stem", (3, 8), stride=2)], "stem.relu")
    last = build.op("Relu", [build.conv(stem, "last", (8, 12), stride=2)], "last.relu")
    build.classes(last, 12)
    model = build.model()
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    model.graph.input[0].CopyFrom(image)
    return model


def with_unknown_op(model: onnx.ModelProto) -> onnx.ModelProto:
    """The last node becomes one that no runtime has."""
    model.graph.node[-1].op_type = "Frobnicate"
    return model


def teach_unknown_op(bundle: Path, name: str) -> None:
    """Put a node into one of the bundle's files that no runtime has; the hashes are right."""
    path = bundle / name
    onnx.save(with_unknown_op(onnx.load(path)), path)
    manifest = msgspec.json.decode((bundle / MANIFEST_NAME).read_bytes(), type=Manifest)
    entry = next(file for file in manifest.files if file.path == name)
    changed = msgspec.structs.replace(entry, sha256=sha256_of(path), size_bytes=path.stat().st_size)
    files = tuple(changed if file is entry else file for file in manifest.files)
    changed_manifest = msgspec.structs.replace(manifest, files=files)
    (bundle / MANIFEST_NAME).write_bytes(encode_manifest(changed_manifest))


def flip_byte(path: Path) -> None:
    """One bit in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
