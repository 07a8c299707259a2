"""What tensors take on the wire is measured with the real codec, step by step."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import ignore

from isthmus import (
    ModelError,
    Symbols,
    TensorSpec,
    quantised,
)
from isthmus_partitioner import Network
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.planning import sizes
from isthmus_partitioner.planning.sizes import ITEMS, TensorSizes, exact_tensors, tensor_sizes
from isthmus_partitioner.wire.ladder import step_encodings
from isthmus_partitioner.wire.through import forecast

Read = Callable[[onnx.ModelProto], Network]
STEPS = (1 / 8, 1 / 2)


def sizes_of(network: Network, *names: str) -> dict[str, TensorSizes]:
    known = {spec.name: spec for spec in network.inputs} | dict(network.tensors)
    items = branched.items(network, ITEMS + 2, 5, "some")
    specs = [known[name] for name in names]
    found, refused = tensor_sizes(network, specs, items, STEPS, ignore)
    assert not refused
    return found


def test_floats_are_weighed_as_symbols_at_every_step(read: Read) -> None:
    network = read(branched.u_net())
    found = sizes_of(network, "wide", "deep")
    assert found.keys() == {"wide", "deep"}
    items = branched.items(network, ITEMS + 2, 5, "some")[:ITEMS]
    values = activations(network, [network.tensors["deep"]], items)["deep"].view(np.float32)
    for encoding, figures in zip(
        step_encodings(values, STEPS, None), found["deep"].by_step, strict=True
    ):
        assert isinstance(encoding, Symbols)
        expected = forecast(quantised(values, encoding), encoding)
        assert figures.payload_bytes == expected.payload_bytes
        assert figures.payload_bytes_p95 == expected.payload_bytes_p95
    finer, coarser = (figures.payload_bytes for figures in found["deep"].by_step)
    assert finer > coarser


def test_ids_masks_and_few_numbers_take_the_same_at_every_step(read: Read) -> None:
    network = read(branched.masked())
    for name, size in (("is_there", 2), ("answer", 20)):
        first, second = sizes_of(network, name)[name].by_step
        assert first == second
        assert 0 < first.payload_bytes <= size
    ids = sizes_of(network, "ids")["ids"].by_step[0].payload_bytes
    assert 0 < ids < 16 * 8


def test_a_scalar_input_has_a_size(read: Read) -> None:
    network = read(branched.with_gain())
    found = sizes_of(network, "gain", "gain.real")
    assert found["gain"].by_step[0].payload_bytes == 8
    assert found["gain.real"].by_step[0].payload_bytes == 4


def test_tensors_are_held_a_few_at_a_time(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there is room for; the figures are the same."""
    network = read(branched.u_net())
    names = ("wide", "deep", "deeper", "joined")
    together = sizes_of(network, *names)
    asked: list[list[str]] = []

    def watched(network: Network, specs: list[TensorSpec], items: object) -> object:
        asked.append([spec.name for spec in specs])
        return activations(network, specs, items)  # type: ignore[arg-type]

    monkeypatch.setattr(sizes, "activations", watched)
    monkeypatch.setattr(sizes, "_AT_ONCE_BYTES", network.tensors["wide"].nbytes * ITEMS + 1)
    apart = sizes_of(network, *names)
    assert tuple(name for some in asked for name in some) == names
    assert len(asked) > 1
    for name in names:
        assert [f.payload_bytes for f in apart[name].by_step] == [
            f.payload_bytes for f in together[name].by_step
        ]


def test_what_the_runtime_does_not_hand_out_has_no_size_but_a_reason(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = read(branched.u_net())
    names = ("wide", "deep", "deeper", "joined")

    def partly(network: Network, specs: list[TensorSpec], items: object) -> object:
        for spec in specs:
            if spec.name in {"deep", "joined"}:
                raise ModelError(f"{spec.name} has no rank")
        return activations(network, specs, items)  # type: ignore[arg-type]

    monkeypatch.setattr(sizes, "activations", partly)
    specs = [network.tensors[name] for name in names]
    items = branched.items(network, ITEMS, 5, "some")
    found, refused = tensor_sizes(network, specs, items, STEPS, ignore)
    assert found.keys() == {"wide", "deeper"}
    assert refused == {"deep": "deep has no rank", "joined": "joined has no rank"}


def test_what_no_step_can_be_fitted_to_is_exact(read: Read) -> None:
    """A mask of minus infinity, as attention has it."""
    sizes = sizes_of(read(branched.forbidding()), "mask", "hidden")
    assert exact_tensors(sizes) == {"mask"}
    assert sizes["mask"].by_step[0] == sizes["mask"].by_step[1]
    assert sizes["mask"].by_step[0].payload_bytes > 0


def test_masks_of_the_least_number_have_a_size(read: Read) -> None:
    sizes = sizes_of(read(branched.forbidding(-3.4028235e38)), "mask")
    assert exact_tensors(sizes) == set()
    assert sizes["mask"].by_step[0].payload_bytes > 0
