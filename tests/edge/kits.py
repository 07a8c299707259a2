"""Tiny profile kits, written by hand: two layers, one prefix, two items."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from isthmus import TensorSpec, sha256_of
from isthmus.profiles import (
    INPUTS_NAME,
    KIT_NAME,
    KIT_VERSION,
    Kit,
    KitFile,
    KitNetwork,
    KitPrefix,
    encode_kit,
)

SPEC = TensorSpec(name="picture:0", data_type="float32", shape=(3, 16, 16))
ITEMS = 2


def layers(end: str = "answer") -> onnx.ModelProto:
    """Conv, Relu `middle`, Conv `answer`; up to `end`."""
    random = np.random.default_rng(0)
    nodes, constants = [], []
    for before, name, channels in (("picture:0", "first", 3), ("middle", "answer", 8)):
        weights = random.standard_normal((8, channels, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"{name}.w"))
        nodes.append(helper.make_node("Conv", [before, f"{name}.w"], [name], name=name))
        if name == "first":
            nodes.append(helper.make_node("Relu", ["first"], ["middle"], name="middle"))
        if end in nodes[-1].output:
            break
    source = helper.make_tensor_value_info("picture:0", TensorProto.FLOAT, ["N", 3, 16, 16])
    graph = helper.make_graph(nodes, "tiny", [source], [onnx.ValueInfoProto(name=end)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write_inputs(folder: Path, shape: tuple[int, ...] = SPEC.shape) -> None:
    items = np.random.default_rng(1).random((ITEMS, *shape), np.float32)
    with (folder / INPUTS_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, input_0=items)


def seal(folder: Path, names: tuple[str, ...] = ("fp32",)) -> Path:
    """Write `kit.json` for whatever the folder holds now: the hashes are right."""
    networks = [
        KitNetwork(
            name=name,
            file=f"{name}.onnx",
            inputs=(SPEC.name,),
            prefixes=(KitPrefix(tensors=("middle",), file="fp32-0.onnx", inputs=(SPEC.name,)),)
            if name == "fp32"
            else (),
        )
        for name in names
    ]
    files = [
        KitFile(path=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(folder.iterdir())
        if path.name != KIT_NAME
    ]
    kit = Kit(
        format_version=KIT_VERSION,
        isthmus="0",
        model_name="tiny",
        model_sha256="5" * 64,
        inputs=(SPEC,),
        items=ITEMS,
        networks=tuple(networks),
        files=tuple(files),
    )
    (folder / KIT_NAME).write_bytes(encode_kit(kit))
    return folder


def build_kit(folder: Path) -> Path:
    """A kit of one network with one prefix."""
    folder.mkdir()
    onnx.save(layers(), folder / "fp32.onnx")
    onnx.save(layers("middle"), folder / "fp32-0.onnx")
    write_inputs(folder)
    return seal(folder)
