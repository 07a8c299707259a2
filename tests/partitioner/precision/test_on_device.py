"""Heads have the precision that wins on the plan's device, not the one that wins here."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from isthmus import RuntimeName
from isthmus_partitioner import Network
from isthmus_partitioner.planning.node_costs import ALL_INT8
from isthmus_partitioner.precision.front import Kind, Point
from isthmus_partitioner.precision.on_device import for_device
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles.runtime_choice import RuntimeNote, RuntimeTime

BUDGET = 0.02


def note(network: str, *unfit: RuntimeName, **ms: float) -> RuntimeNote:
    """The fastest that is fit is chosen, as `choose_runtimes` does it."""
    names: dict[str, RuntimeName] = {"onnx": "onnxruntime", "litert": "litert"}
    times = sorted(
        (RuntimeTime(runtime=names[name], ms=taken) for name, taken in ms.items()),
        key=lambda time: time.ms,
    )
    chosen = next(time.runtime for time in times if time.runtime not in unfit)
    return RuntimeNote(
        network=network, runtime=chosen, times=tuple(times), reason=f"why {network}", unfit=unfit
    )


def notes(*of: RuntimeNote) -> dict[str, RuntimeNote]:
    return {each.network: each for each in of}


def point(name: str, kind: Kind, divergence: float) -> Point:
    return Point(name=name, kind=kind, fp32_groups=(), ms=9.0, divergence=divergence, agreement=1.0)


@pytest.fixture
def found(network: Network, quantised: Precision) -> Callable[..., Precision]:
    """What a search found that chose this kind."""

    def precision(kind: Kind, divergence: float = 0.004) -> Precision:
        fp32, mix = point("fp32", "fp32", 0.0), point("a mix", "mixed", 0.001)
        worse, whole = point("coarse", "int8", 0.5), point("fine", "int8", divergence)
        tried = (fp32, worse, whole, mix)
        return Precision(
            front=(fp32,),
            tried=tried,
            chosen={"fp32": fp32, "mixed": mix, "int8": whole}[kind],
            reason="int8 is not faster here",
            groups=3,
            int8=quantised.int8,
            head=network.model if kind == "fp32" else quantised.head,
            fp32_ms=9.0,
            int8_ms=9.0,
        )

    return precision


Found = Callable[..., Precision]
QUICK_INT8 = notes(note("fp32", onnx=10.0, litert=12.0), note("int8", onnx=11.0, litert=4.0))


def test_int8_that_wins_on_the_device_alone_makes_its_heads(found: Found, network: Network) -> None:
    known = for_device(found("fp32"), network, QUICK_INT8, BUDGET)
    assert known.chosen.name == "fine"
    assert known.head is known.int8
    assert known.networks == {"fp32": "fp32", "int8": "int8"}
    assert known.reason == (
        "on the plan's device int8 throughout takes 4.00 ms (LiteRT), fp32 10.00 ms (ONNX "
        "Runtime); divergence 0.0040, at most 0.02. Of the mixes that were timed here: int8 is "
        "not faster here"
    )


@pytest.mark.parametrize("ms", [9.8, 10.0, 30.0])
def test_int8_that_gains_no_time_there_either_leaves_heads_as_they_are(
    ms: float, found: Found, network: Network
) -> None:
    there = notes(note("fp32", onnx=10.0), note("int8", onnx=ms))
    known = for_device(found("fp32"), network, there, BUDGET)
    assert (known.chosen.kind, known.networks) == ("fp32", {"fp32": "fp32"})
    assert known.reason == (
        f"int8 is not faster here; on the plan's device int8 throughout takes {ms:.2f} ms (ONNX "
        "Runtime), fp32 10.00 ms (ONNX Runtime)"
    )


def test_int8_beyond_the_budget_is_told_and_not_used(found: Found, network: Network) -> None:
    known = for_device(found("fp32", 0.3), network, QUICK_INT8, BUDGET)
    assert known.chosen.kind == "fp32"
    assert known.head is network.model
    assert "takes 4.00 ms (LiteRT)" in known.reason
    assert known.reason.endswith("but its divergence 0.3000 is above 0.02")


def test_a_runtime_whose_answers_will_not_do_does_not_make_int8_win(
    found: Found, network: Network
) -> None:
    there = notes(note("fp32", onnx=10.0), note("int8", "litert", onnx=11.0, litert=4.0))
    known = for_device(found("fp32"), network, there, BUDGET)
    assert known.chosen.kind == "fp32"
    assert "takes 11.00 ms (ONNX Runtime), fp32 10.00 ms" in known.reason
    assert known.reason.endswith("; why int8")


def test_a_device_on_which_nothing_runs_int8_is_told(found: Found, network: Network) -> None:
    known = for_device(found("fp32"), network, notes(note("fp32", onnx=10.0)), BUDGET)
    assert known.chosen.kind == "fp32"
    assert known.reason.endswith("no runtime that ran int8 throughout and answers well")


@pytest.mark.parametrize("kind", ["mixed", "int8"])
def test_a_mix_that_the_device_measured_stays_what_heads_are(
    kind: Kind, found: Found, network: Network
) -> None:
    """Head by head it is still compared with fp32, when cuts are tried."""
    before = found(kind)
    there = QUICK_INT8 | notes(note("head", onnx=5.0))
    assert for_device(before, network, there, BUDGET) is before
    extra = {ALL_INT8: "int8"} if kind == "mixed" else {}
    assert before.networks == {"fp32": "fp32", "int8": "head", **extra}


@pytest.mark.parametrize(("divergence", "kind"), [(0.004, "int8"), (0.3, "fp32")])
def test_a_mix_that_no_runtime_of_the_device_runs_gives_way_and_that_is_told(
    divergence: float, kind: Kind, found: Found, network: Network
) -> None:
    known = for_device(found("mixed", divergence), network, QUICK_INT8, BUDGET)
    assert known.chosen.kind == kind
    assert known.head is (network.model if kind == "fp32" else known.int8)
    assert "the plan's device has no runtime that ran a mix and answers well" in known.reason
    assert "install ONNX Runtime there" in known.reason


def test_a_network_that_cannot_be_int8_stays_fp32(found: Found, network: Network) -> None:
    before = replace(found("fp32"), int8=None)
    assert for_device(before, network, notes(note("fp32", onnx=10.0)), BUDGET) is before
