"""The network to be cut: a file that was read, tried out, simplified and measured out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import onnx
import onnx_ir as ir

from isthmus import DataType, ModelError, TensorSpec
from isthmus_partitioner.graph.folding import fold, loosen
from isthmus_partitioner.graph.macs import macs_of
from isthmus_partitioner.graph.opsets import modern
from isthmus_partitioner.graph.reading import ModelFile, read_file
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.graph.rewriting import (
    OWN,
    Sizes,
    as_proto,
    fixed,
    read_graph,
    unhook_batch,
    with_inputs,
)
from isthmus_partitioner.graph.simplify import simplified
from isthmus_partitioner.graph.surgery import open_info, spec_info
from isthmus_partitioner.graph.tensors import Tensors, find_tensors
from isthmus_partitioner.graph.trial import (
    Trial,
    differences,
    joined_differences,
    try_out,
)
from isthmus_partitioner.runtime import open_session, run_one

__all__ = ["Network", "load_model", "network_of"]

_BODIES = frozenset({"If", "Loop", "Scan"})
_NO_SIZES: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Network:
    """A network that ONNX Runtime can run, for inputs of one size.

    `model` has its constants folded, a name on every node, and the type and shape of every tensor;
    the only free dimension is the batch "N", where the network `batches`: where a batch of two
    gives the same answers as the two items alone; where not, `why_single` says why. Where `is_open`
    no size is stated: the runtime would refuse the network, because a branch that is never taken
    would not fit. `tensors` holds
    what depends on an input and can cross, the inputs and outputs among it, by name. Those in
    `unjoinable` have the batch folded into another dimension. `macs` is by node, in order. `notes`
    say what was assumed, what could not be done and why.
    """

    path: Path
    sha256: str
    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tensors: Mapping[str, TensorSpec]
    macs: tuple[int, ...]
    batches: bool
    unjoinable: tuple[str, ...]
    notes: tuple[str, ...]
    is_open: bool = False
    why_single: str = ""

    def info(self, spec: TensorSpec) -> onnx.ValueInfoProto:
        """An input or output of a part, which states no more of its size than the network does."""
        if not self.is_open:
            return spec_info(spec, self.batches)
        own = (info for info in self.model.graph.input if info.name == spec.name)
        return next(own, None) or open_info(spec)


def load_model(path: Path, sizes: Mapping[str, int] = _NO_SIZES) -> Network:
    """Read any ONNX file that ONNX Runtime can run, or a TFLite file that LiteRT can run.

    `sizes` fixes open dimensions other than the batch, by their name or as "input:axis"; the name
    of a scalar integer input fixes its value, and the network has no such input then. What is left
    open is guessed and noted.

    Raises ModelError that names what is wrong with the file, an operator, an input or an output,
    and ConfigError for a size that names nothing.
    """
    return network_of(read_file(path), sizes)


def network_of(file: ModelFile, sizes: Mapping[str, int] = _NO_SIZES) -> Network:
    """As `load_model`, of a file that was read already."""
    _check_names(file)
    trial = try_out(file, sizes)
    graph, mode, notes, why_single = _prepared(file, trial)
    batches = mode == "batch is free"
    feeds = (trial.items[0], *([trial.joined] if batches else []))
    changing = fold(graph, feeds)
    if batches:
        loosen(graph, changing, lambda: _wrong(as_proto(graph), trial, batches) is None)
    model, troubles = simplified(
        as_proto(graph),
        lambda m: as_proto(with_inputs(ir.from_proto(m), trial.free, mode)),
        lambda m: _wrong(m, trial, batches),
    )
    one_by_one = (f"{why_single}: items are answered one by one",) if why_single else ()
    notes = (*file.notes, *trial.notes, *notes, *one_by_one, *troubles)
    return replace(_network(file, trial, model, mode, notes), why_single=why_single)


def _check_names(file: ModelFile) -> None:
    graph = file.model.graph
    for side, infos in (("input", graph.input), ("output", graph.output)):
        for name in (info.name for info in infos if info.name.startswith(OWN)):
            raise ModelError(
                f"{file.path}: an {side} is called {name!r}; give it a name that does not begin "
                f"with {OWN!r}"
            )


def _prepared(file: ModelFile, trial: Trial) -> tuple[ir.Model, Sizes, tuple[str, ...], str]:
    """The graph, of a newer opset where that changes no answer, which sizes it states, and why.

    That is notes, and why it does not batch.
    """
    converted, notes = modern(file)
    wrong = None
    for source in (file,) if converted is file else (converted, file):
        graph = fixed(read_graph(source), trial.fixed)
        if trial.fixed:
            fold(with_inputs(graph, trial.free, "stated"), trial.items[:1], shapes=False)
        mode, problem = _mode(graph, trial)
        if mode is not None:
            return graph, mode, notes, _why_single(mode, problem)
        notes, wrong = (f"opset {file.opset} is kept: its newer form answers otherwise",), problem
    raise ModelError(f"{file.path}: cannot be prepared for cutting: {wrong}")


def _mode(graph: ir.Model, trial: Trial) -> tuple[Sizes | None, str | None]:
    """What can be stated of the sizes, at best that the batch is free, and why no more.

    Sizes stay open where a branch that is never taken would not fit them.
    """
    problem = None
    if any(each.batch_axis is not None for each in trial.free):
        problem = _wrong(
            as_proto(with_inputs(graph, trial.free, "batch is free")), trial, batches=True
        )
        if problem is None:
            return "batch is free", None
        changed = unhook_batch(graph)
        if changed and _wrong(as_proto(graph), trial, batches=True) is None:
            return "batch is free", None
        for node, before in changed:
            node.replace_input_with(1, before)
    modes: tuple[Sizes, ...] = ("stated", "open")
    for mode in modes:
        wrong = _wrong(as_proto(with_inputs(graph, trial.free, mode)), trial, batches=False)
        if wrong is None:
            return mode, problem
    return None, wrong


def _why_single(mode: Sizes, problem: str | None) -> str:
    if mode == "batch is free":
        return ""
    if problem is None:
        return "no input has a batch dimension"
    return f"cannot answer two items at once ({problem})"


def _wrong(model: onnx.ModelProto, trial: Trial, batches: bool) -> str | None:
    """What a model answers otherwise than the file; None if nothing."""
    names = list(trial.outputs)
    try:
        session = open_session(model, threads=2)
        # Of two joined items, each is compared: no need to run the second alone.
        for feed, answers in list(zip(trial.items, trial.answers, strict=True))[: 2 - batches]:
            found = dict(zip(names, run_one(session, feed, names), strict=True))
            if wrong := differences(found, answers):
                return f"output {wrong[0]!r} differs"
        if batches:
            found = dict(zip(names, run_one(session, trial.joined, names), strict=True))
            if wrong := joined_differences(found, trial.answers):
                return f"output {wrong[0]!r} of two items differs from theirs alone"
    except ModelError as error:
        return first_line(error)
    return None


def _network(
    file: ModelFile, trial: Trial, model: onnx.ModelProto, mode: Sizes, notes: tuple[str, ...]
) -> Network:
    batches = mode == "batch is free"
    axes = {each.name: each.batch_axis for each in trial.free if each.batch_axis is not None}
    joined = trial.joined if batches else None
    tensors = find_tensors(model, trial.items, joined, axes)
    specs = tensors.specs
    if mode != "open":
        _state_shapes(model, tensors, batches)
    macs = macs_of(model.graph, {name: spec.shape for name, spec in specs.items()})
    return Network(
        path=file.path,
        sha256=file.sha256,
        model=model,
        inputs=tuple(specs[info.name] for info in model.graph.input),
        outputs=tuple(_output(name, tensors, trial) for name in trial.outputs),
        tensors=specs,
        macs=tuple(macs),
        batches=batches,
        unjoinable=tensors.unjoinable,
        notes=(*notes, *tensors.notes, *_bodies(model.graph, sum(macs))),
        is_open=mode == "open",
    )


def _output(name: str, tensors: Tensors, trial: Trial) -> TensorSpec:
    """An output may also be a constant, which is no tensor of an item."""
    if name in tensors.specs:
        return tensors.specs[name]
    value = trial.answers[0][name]
    data_type = cast(DataType, value.dtype.name)
    return TensorSpec(name=name, data_type=data_type, shape=value.shape, batch_axis=None)


def _state_shapes(model: onnx.ModelProto, tensors: Tensors, batches: bool) -> None:
    graph = model.graph
    stated = [info.name for info in (*graph.input, *graph.output)]
    for info in (*graph.input, *graph.output):
        if info.name in tensors.specs and info.name not in tensors.unjoinable:
            info.CopyFrom(spec_info(tensors.specs[info.name], batches))
    del graph.value_info[:]
    inner = (spec for name, spec in tensors.specs.items() if name not in stated)
    graph.value_info.extend(
        spec_info(spec, batches) for spec in inner if spec.name not in tensors.unjoinable
    )


def _bodies(graph: onnx.GraphProto, macs: int) -> tuple[str, ...]:
    found = Counter(node.op_type for node in graph.node if node.op_type in _BODIES)
    if not found:
        return ()
    if sum(found.values()) == 1 and not macs:  # what goes on outside of it is no layer
        return (f"the network is one {next(iter(found))} node: no cut inside" + _way_out(graph),)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
    return (f"{listed}: no cut inside of these nodes",)


def _way_out(graph: onnx.GraphProto) -> str:
    scalars = [
        info.name
        for info in graph.input
        if not info.type.tensor_type.shape.dim and info.type.tensor_type.HasField("shape")
    ]
    ways = " or ".join(f"--size {name}=VALUE" for name in scalars)
    return f"; if it decides on an input, fix that by {ways}" if ways else ""
