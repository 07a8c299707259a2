"""The profile kit: a network, and prefixes of it, for a device that has only a runtime."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from isthmus import ConfigError, ModelError, TfliteForm, sha256_of
from isthmus.profiles import (
    ANSWERS_NAME,
    INPUTS_NAME,
    KIT_NAME,
    KIT_VERSION,
    Kit,
    KitFile,
    KitNetwork,
    KitPrefix,
    encode_kit,
)
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.folders import whole_folder
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.profiles.prefixes import prefix_cuts
from isthmus_partitioner.profiles.twins import write_twin
from isthmus_partitioner.profiles.weights import with_weights_outside
from isthmus_partitioner.runtime import AnyArray, open_session, run_items, session_options
from isthmus_partitioner.samples import Samples
from isthmus_partitioner.tflite import NotLoweredError

__all__ = ["PREFIXED", "write_kit"]

PREFIXED = ("fp32", "head")  # cuts are proposed from the times of these two
_ITEMS = 4
_MOST_ANSWER_BYTES = 16 * 1024 * 1024  # of one network; one item is answered whatever it takes


def write_kit(
    network: Network, models: Mapping[str, onnx.ModelProto], inputs: Samples, out: Path
) -> Path:
    """Write the kit of a network into the directory `out`, whole or not at all.

    `models` are the network in several precisions, by name ("fp32", "int8", "head"); of those in
    `PREFIXED` some prefixes are in it too. Of `inputs` the first few items, with what ONNX Runtime
    gives for them here. An older kit at `out` is replaced; raises BundleError if anything else is
    there, or if it cannot be written, ModelError if a network cannot be run.
    """
    with whole_folder(out, KIT_NAME, "profile kit") as folder:
        items = _items(network, inputs)
        inputs_by_number = {f"input_{i}": each for i, each in enumerate(items.arrays.values())}
        _save_arrays(inputs_by_number, INPUTS_NAME, folder)
        cuts = prefix_cuts(network)
        networks = tuple(
            _written(network, name, model, cuts if name in PREFIXED else (), folder)
            for name, model in models.items()
        )
        answered = items[: _answered(network, len(items))]
        _write_answers(network, networks, answered, folder)
        kit = Kit(
            format_version=KIT_VERSION,
            isthmus=version("isthmus"),
            model_name=network.path.stem,
            model_sha256=network.sha256,
            inputs=network.inputs,
            outputs=network.outputs,
            items=len(items),
            answered=len(answered),
            networks=networks,
            files=tuple(_entries(folder)),
        )
        (folder / KIT_NAME).write_bytes(encode_kit(kit))
    return out


def _items(network: Network, inputs: Samples) -> Samples:
    """The first few, in the order and of the types of the network's inputs."""
    items = inputs[:_ITEMS]
    for spec in network.inputs:
        shape = items.arrays[spec.name].shape
        if shape != (len(items), *spec.shape):
            raise ConfigError(
                f"input {spec.name!r}: items are {list(shape[1:])}, the network wants "
                f"{list(spec.shape)}"
            )
    typed = {spec.name: items.arrays[spec.name].astype(spec.data_type) for spec in network.inputs}
    return Samples(typed, items.sources)


def _answered(network: Network, items: int) -> int:
    """For how many items a device gets the answers: large ones need not be many to be compared."""
    return max(1, min(items, _MOST_ANSWER_BYTES // sum(spec.nbytes for spec in network.outputs)))


def _write_answers(
    network: Network, networks: tuple[KitNetwork, ...], items: Samples, folder: Path
) -> None:
    """Of each network by itself: what int8 costs is judged elsewhere.

    One thread, so that the same kit is written again.
    """
    arrays = {}
    for place, each in enumerate(networks):
        session = open_session(folder / each.file, threads=1)
        answers = run_items(session, items.feeds(network.inputs), network.outputs)
        for index, spec in enumerate(network.outputs):
            arrays[f"answer_{place}_{index}"] = answers[spec.name].astype(spec.data_type)
    _save_arrays(arrays, ANSWERS_NAME, folder)


def _save_arrays(arrays: Mapping[str, AnyArray], name: str, folder: Path) -> None:
    """By number: a tensor's name may be anything, and not all of that is fit for a file."""
    with (folder / name).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _written(
    network: Network,
    name: str,
    model: onnx.ModelProto,
    cuts: tuple[NetworkCut, ...],
    folder: Path,
) -> KitNetwork:
    """The whole network and its prefixes; all of them read the same weights."""
    weights = folder / f"{name}.weights"
    light = with_weights_outside(model, network.path.parent, weights)
    _save(light, folder / f"{name}.onnx")
    twins = _Twins(network, folder)
    head = HeadGraph(network, light)
    prefixes: list[KitPrefix] = []
    for cut in cuts:
        held = head.at(cut)
        if held is None:  # this precision lacks one of the tensors
            continue
        file = f"{name}-{len(prefixes)}.onnx"
        ends = [*(boundary.name for boundary in held.boundaries), *cut.answers]
        prefix = _prefix(light, ends)
        _save(prefix, folder / file)
        if not _is_accepted(folder / file):  # one prefix less only means a coarser time
            (folder / file).unlink()
            continue
        tensors = (*(spec.name for spec in cut.tensors), *cut.answers)
        twin = twins.of(_prefix(model, ends), f"{name}-{len(prefixes)}.tflite")
        prefixes.append(
            KitPrefix(tensors=tensors, file=file, inputs=_inputs_of(prefix), tflite=twin)
        )
    return KitNetwork(
        name=name,
        file=f"{name}.onnx",
        inputs=_inputs_of(light),
        prefixes=tuple(prefixes),
        tflite=twins.of(model, f"{name}.tflite"),
    )


@dataclass(frozen=True, slots=True)
class _Twins:
    """Makes the TFLite twins of what goes into a kit, where there can be one."""

    network: Network
    folder: Path

    def of(self, model: onnx.ModelProto, file: str) -> TfliteForm | None:
        try:
            return write_twin(model, self.network.path.parent, self.folder / file)
        except NotLoweredError:  # measured on ONNX Runtime alone; the plan says why
            return None


def _inputs_of(model: onnx.ModelProto) -> tuple[str, ...]:
    constants = initialisers(model.graph)
    return tuple(info.name for info in model.graph.input if info.name not in constants)


def _prefix(model: onnx.ModelProto, ends: list[str]) -> onnx.ModelProto:
    """All that computes the tensors `ends`, whose types the runtime infers."""
    given = {info.name for info in model.graph.input}
    wanted = [name for name in dict.fromkeys(ends) if name not in given]
    nodes = nodes_between(model.graph, [], wanted)
    outputs = [onnx.ValueInfoProto(name=name) for name in wanted]
    return assemble(model, nodes, model.graph.input, outputs, initialisers(model.graph))


def _is_accepted(file: Path) -> bool:
    """Whether the runtime takes a prefix: the profiler of a device would end where it does not."""
    options = session_options(1)
    options.graph_optimization_level = options.graph_optimization_level.ORT_DISABLE_ALL
    try:
        open_session(file, threads=1, options=options)
    except ModelError:
        return False
    return True


def _save(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))


def _entries(folder: Path) -> Iterator[KitFile]:
    for path in sorted(folder.iterdir()):
        yield KitFile(path=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))
