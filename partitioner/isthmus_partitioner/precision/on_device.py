"""The precision of a plan, from what the search found here and what the plan's device measured.

The search times mixes on this machine, in ONNX Runtime. A device, or another runtime on it, may do
better in int8 than that, or not run the chosen mix at all.
"""

from collections.abc import Mapping
from dataclasses import replace

from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.precision.front import WORTH_IT, Point
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles.runtime_choice import TITLES, RuntimeNote

__all__ = ["for_device"]


def for_device(
    found: Precision, network: Network, runtimes: Mapping[str, RuntimeNote], budget: float
) -> Precision:
    """What heads shall be on the device whose `runtimes` these are, by network of its profile.

    Heads that would stay fp32 are int8 throughout where that was measured faster there than fp32,
    each on its own runtime, and its divergence is within `budget`. A mix that nothing there runs
    gives way in the same manner. The reason says what was done, or why it was not.
    """
    known = found
    if found.chosen.kind != "fp32" and found.head_name not in runtimes:
        known = _without_mix(found, network)
    if known.chosen.kind != "fp32" or found.int8 is None or "fp32" not in runtimes:
        return known
    if "int8" not in runtimes:
        why = "the plan's device has no runtime that ran int8 throughout and answers well"
        return replace(known, reason=f"{known.reason}; {why}")
    whole = _whole(found)
    int8, fp32 = runtimes["int8"], runtimes["fp32"]
    figures = f"on the plan's device int8 throughout takes {_taken(int8)}, fp32 {_taken(fp32)}"
    if _ms(int8) >= WORTH_IT * _ms(fp32):
        return replace(known, reason=f"{known.reason}; {figures}{_missed(int8, fp32)}")
    if whole.divergence > budget:
        too_far = f"but its divergence {whole.divergence:.4f} is above {budget:g}"
        return replace(known, reason=f"{known.reason}; {figures}, {too_far}")
    return replace(
        known,
        chosen=whole,
        head=found.int8,
        head_name="int8",
        reason=f"{figures}; divergence {whole.divergence:.4f}, at most {budget:g}. Of the mixes "
        f"that were timed here: {known.reason}",
    )


def _without_mix(found: Precision, network: Network) -> Precision:
    (fp32,) = (point for point in found.tried if point.kind == "fp32")
    reason = (
        f"the plan's device has no runtime that ran {found.chosen.name} and answers well: install "
        "ONNX Runtime there (pip install 'isthmus[edge]') and measure again to have it"
    )
    return replace(found, chosen=fp32, head=network.model, reason=reason)


def _whole(found: Precision) -> Point:
    """The point of the network `found.int8`."""
    whole = (point for point in found.tried if point.kind == "int8")
    return min(whole, key=lambda point: point.divergence)


def _missed(int8: RuntimeNote, fp32: RuntimeNote) -> str:
    """What would have been faster, had its answers been good enough."""
    unfit = (time for time in int8.times if time.runtime in int8.unfit)
    is_missed = any(time.ms < WORTH_IT * _ms(fp32) for time in unfit)
    return f"; {int8.reason}" if is_missed else ""


def _ms(note: RuntimeNote) -> float:
    """On the runtime that was chosen."""
    return next(time.ms for time in note.times if time.runtime == note.runtime)


def _taken(note: RuntimeNote) -> str:
    return f"{_ms(note):.2f} ms ({TITLES[note.runtime]})"
