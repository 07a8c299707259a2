"""Tiny profile kits, written by hand: two layers, one prefix, two items."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from isthmus import TensorSpec, TfliteForm, sha256_of
from isthmus.profiles import (
    ANSWERS_NAME,
    INPUTS_NAME,
    KIT_NAME,
    KIT_VERSION,
    Kit,
    KitFile,
    KitGraph,
    KitNetwork,
    KitPrefix,
    decode_kit,
    encode_kit,
)
from isthmus_partitioner.tflite import lower

Graph = TypeVar("Graph", bound=KitGraph)

SPEC = TensorSpec(name="picture:0", data_type="float32", shape=(3, 16, 16))
ANSWER = TensorSpec(name="answer", data_type="float32", shape=(8, 12, 12))
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
    with (folder / INPUTS_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, input_0=items_of(shape))


def items_of(shape: tuple[int, ...] = SPEC.shape) -> NDArray[np.float32]:
    return np.random.default_rng(1).random((ITEMS, *shape), np.float32)


@cache
def answers() -> NDArray[np.float32]:
    """What ONNX Runtime gives for the items: [items,*shape]."""
    session = ort.InferenceSession(layers().SerializeToString())
    made: NDArray[np.float32] = session.run(None, {SPEC.name: items_of()})[0]
    return made


def write_answers(folder: Path, *networks: NDArray[np.generic]) -> None:
    """The one output of each network."""
    arrays = {f"answer_{place}_0": array for place, array in enumerate(networks)}
    with (folder / ANSWERS_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def seal(folder: Path, names: tuple[str, ...] = ("fp32",)) -> Path:
    """Write answers, all networks' the same, and `kit.json` for whatever the folder holds now."""
    write_answers(folder, *[answers()] * len(names))
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
    kit = Kit(
        format_version=KIT_VERSION,
        isthmus="0",
        model_name="tiny",
        model_sha256="5" * 64,
        inputs=(SPEC,),
        outputs=(ANSWER,),
        items=ITEMS,
        answered=ITEMS,
        networks=tuple(networks),
        files=_files(folder),
    )
    (folder / KIT_NAME).write_bytes(encode_kit(kit))
    return folder


def _files(folder: Path) -> tuple[KitFile, ...]:
    return tuple(
        KitFile(path=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(folder.iterdir())
        if path.name != KIT_NAME
    )


def rehash(folder: Path) -> Path:
    """Write the hashes of the files as they are now into `kit.json`."""
    kit = decode_kit((folder / KIT_NAME).read_bytes(), KIT_NAME)
    kit = msgspec.structs.replace(kit, files=_files(folder))
    (folder / KIT_NAME).write_bytes(encode_kit(kit))
    return folder


def build_kit(folder: Path) -> Path:
    """A kit of one network with one prefix."""
    folder.mkdir()
    onnx.save(layers(), folder / "fp32.onnx")
    onnx.save(layers("middle"), folder / "fp32-0.onnx")
    write_inputs(folder)
    return seal(folder)


def add_twins(folder: Path, without: Collection[str] = ()) -> Path:
    """Give every graph of a kit its TFLite form, but for the files in `without`."""
    kit = decode_kit((folder / KIT_NAME).read_bytes(), KIT_NAME)

    def twinned(graph: Graph) -> Graph:
        if graph.file in without:
            return graph
        lowered = lower(onnx.load(folder / graph.file))
        file = graph.file.replace(".onnx", ".tflite")
        (folder / file).write_bytes(lowered.data)
        form = TfliteForm(file=file, channels_last=lowered.channels_last)
        return msgspec.structs.replace(graph, tflite=form)

    networks = tuple(
        msgspec.structs.replace(twinned(network), prefixes=tuple(map(twinned, network.prefixes)))
        for network in kit.networks
    )
    kit = msgspec.structs.replace(kit, networks=networks, files=_files(folder))
    (folder / KIT_NAME).write_bytes(encode_kit(kit))
    return folder
