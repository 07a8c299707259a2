"""Orders to devices, in rounds in which all of them take turns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from isthmus import RuntimeName
from isthmus_bench.edge.devices import Ask, Device, ask
from isthmus_bench.edge.figures import MemoryRow
from isthmus_bench.edge.orders import Memory, Net, Order
from isthmus_bench.edge.spread import Spread
from isthmus_bench.edge.subject import Arrangement, Built, Kind, Precision, Subject

__all__ = ["Times", "memory_rows", "times_of"]

_Key = tuple[RuntimeName, Precision, Kind, int]


def memory_rows(
    subject: Subject, devices: Sequence[Device], processes: int, ask: Ask = ask
) -> tuple[MemoryRow, ...]:
    """Every arrangement on every runtime, each in fresh processes."""
    subjects = list(_arranged(subject, devices))
    weighed: dict[_Key, list[Memory]] = {}
    problems: dict[_Key, str] = {}
    for _ in range(processes):
        for device, precision, arrangement in subjects:
            key = (device.runtime, precision, arrangement.kind, arrangement.candidates)
            if key in problems:
                continue
            order = _order(subject, device, do="memory", nets=arrangement.nets)
            reply = ask(device, order)
            if reply.memory is None:
                problems[key] = reply.problem or "its process said nothing of memory"
            else:
                weighed.setdefault(key, []).append(reply.memory)
    keys = dict.fromkeys((*weighed, *problems))
    return tuple(MemoryRow.of(key, weighed.get(key, []), problems.get(key)) for key in keys)


@dataclass(frozen=True, slots=True)
class Times:
    """Of one runtime: by net, the median over processes; why others were not timed."""

    ms: Mapping[str, Spread]
    problems: tuple[str, ...]


def times_of(
    subject: Subject, devices: Sequence[Device], often: tuple[int, int], ask: Ask = ask
) -> dict[RuntimeName, Times]:
    """Whole networks and longest chains of every precision, all in the same processes.

    `often`: processes, and turns in each.
    """
    processes, turns = often
    medians: dict[RuntimeName, dict[str, list[float]]] = {d.runtime: {} for d in devices}
    problems: dict[RuntimeName, dict[str, None]] = {d.runtime: {} for d in devices}
    for _ in range(processes):
        for device in devices:
            nets = [net for built in subject.built for net in _timed(built, device)]
            order = _order(subject, device, do="times", nets=tuple(nets), turns=turns)
            reply = ask(device, order)
            for name, times in reply.times_ms.items():
                medians[device.runtime].setdefault(name, []).append(median(times))
            said = [f"{name}: {why}" for name, why in reply.problems.items()]
            problems[device.runtime] |= dict.fromkeys(
                said if reply.problem is None else [reply.problem]
            )
    return {
        name: Times({net: Spread.of(each) for net, each in found.items()}, tuple(problems[name]))
        for name, found in medians.items()
    }


def _arranged(
    subject: Subject, devices: Sequence[Device]
) -> Iterator[tuple[Device, Precision, Arrangement]]:
    for device in devices:
        for built in subject.built:
            for arrangement in built.arrangements:
                # A .tflite file is mapped as it is: it has its weights inside, and page by page.
                if arrangement.kind not in {"mapped", "inside"} or device.runtime == "onnxruntime":
                    yield device, built.precision, arrangement


def _timed(built: Built, device: Device) -> Iterator[Net]:
    yield built.whole
    yield built.chain
    if device.runtime == "onnxruntime":
        yield built.inside


def _order(subject: Subject, device: Device, **fields: Any) -> Order:
    return Order(
        runtime=device.runtime, folder=str(subject.folder), inputs=subject.inputs, **fields
    )
