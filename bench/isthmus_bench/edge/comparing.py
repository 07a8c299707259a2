"""What runtimes answer, beside the unsplit fp32 network, and the integers that would cross."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from isthmus import RuntimeName
from isthmus_bench.edge.devices import Ask, Device, ask
from isthmus_bench.edge.figures import CutDifference
from isthmus_bench.edge.orders import Net, Order
from isthmus_bench.edge.subject import Built, Subject
from isthmus_partitioner.runtime import (
    all_cores,
    open_session,
    run_items,
    run_one,
    session_options,
)

__all__ = ["REFERENCE", "Answered", "Comparison"]

Arrays = Mapping[str, NDArray[np.generic]]  # by `<net>/<tensor>`, each [n,*graph shape]
REFERENCE: RuntimeName = "onnxruntime"


class Answered:
    """What one runtime made of all items, read from its file as it is needed."""

    def __init__(self, arrays: Arrays, problems: Sequence[str] = ()) -> None:
        self._arrays = arrays
        self.problems = tuple(problems)

    def has(self, net: Net) -> bool:
        """Whether the net was run."""
        return all(f"{net.name}/{name}" in self._arrays for name in net.outputs)

    def of(self, net: Net, tensor: str) -> NDArray[np.generic]:
        """[n,*graph shape]."""
        return self._arrays[f"{net.name}/{tensor}"]


class Comparison:
    """The answers of every runtime to the evaluation items of a subject."""

    def __init__(self, subject: Subject, ask: Ask = ask) -> None:
        self._subject, self._ask = subject, ask
        self._feeds = list(subject.evaluation.feeds(subject.network.inputs))
        session = open_session(subject.network.model, threads=all_cores())
        self._reference = run_items(session, self._feeds, subject.network.outputs)

    def answered(self, device: Device) -> Answered:
        """By the longest chain of each precision: what an agent runs."""
        subject = self._subject
        path = subject.folder / f"{device.runtime}.npz"
        order = Order(
            do="answers",
            runtime=device.runtime,
            folder=str(subject.folder),
            inputs=subject.inputs,
            nets=tuple(built.chain for built in subject.built),
            out=str(path),
        )
        reply = self._ask(device, order)
        if reply.problem is not None or not path.exists():
            return Answered({}, (reply.problem or "it wrote no answers",))
        problems = [f"{name}: {why}" for name, why in reply.problems.items()]
        return Answered(np.load(path, allow_pickle=False), problems)

    def unoptimised(self, built: Built) -> Answered:
        """ONNX Runtime as the graph is written: without its own fusions and kernels."""
        found: dict[str, list[NDArray[np.generic]]] = {}
        held = [dict(feed) for feed in self._feeds]
        for segment in built.chain.chain.segments:
            options = session_options(all_cores())
            options.graph_optimization_level = options.graph_optimization_level.ORT_DISABLE_ALL
            path = self._subject.folder / segment.file
            session = open_session(path, threads=all_cores(), options=options)
            reads = [spec.name for spec in segment.inputs]
            makes = [spec.name for spec in segment.outputs]
            for item in held:
                made = run_one(session, {name: item[name] for name in reads}, makes)
                item |= dict(zip(makes, made, strict=True))
                for name in makes:
                    found.setdefault(f"{built.chain.name}/{name}", []).append(item[name])
        return Answered({name: np.stack(rows) for name, rows in found.items()})

    def agreement(self, built: Built, answered: Answered) -> float | None:
        """With the unsplit fp32 network (0-1); None where it was not run."""
        if not answered.has(built.chain):
            return None
        count = len(self._feeds)
        answers = {
            spec.name: answered.of(built.chain, spec.name).reshape(count, *spec.shape)
            for spec in self._subject.network.outputs
        }
        sources = self._subject.evaluation.sources
        return self._subject.metric.closeness(self._reference, answers, sources).agreement

    def differences(
        self, built: Built, answered: Answered, reference: Answered
    ) -> tuple[CutDifference, ...]:
        """Cut by cut; those without integers are left out."""
        if not (answered.has(built.chain) and reference.has(built.chain)):
            return ()
        rows = []
        for share, segment in zip(self._subject.shares, built.chain.chain.segments, strict=False):
            apart = [
                _steps(answered.of(built.chain, spec.name), reference.of(built.chain, spec.name))
                for spec in segment.outputs
                if spec.data_type == "uint8"
            ]
            if apart:
                steps = np.concatenate(apart)
                rows.append(CutDifference(share, float(steps.mean()), float((steps == 0).mean())))
        return tuple(rows)


def _steps(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.int16]:
    return np.abs(one.astype(np.int16) - other.astype(np.int16)).reshape(-1)
