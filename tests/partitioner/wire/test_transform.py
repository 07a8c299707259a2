"""An order of channels and a projection onto principal components, there and back."""

import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus_partitioner.wire.transform import PLAIN, by_entropy, principal

FloatArray = NDArray[np.float32]


def mixtures(sources: int, channels: int, seed: int = 0) -> FloatArray:
    """Values [6,channels,5,5] that are mixtures of a few sources of unequal strength."""
    random = np.random.default_rng(seed)
    strengths = 2.0 ** -np.arange(sources)[:, None, None]
    hidden = random.standard_normal((6, sources, 5, 5)) * strengths
    mixed = np.einsum("cs,nshw->nchw", random.standard_normal((channels, sources)), hidden)
    shifted: NDArray[np.float64] = mixed + random.standard_normal((1, channels, 1, 1))
    return shifted.astype(np.float32)


VALUES = mixtures(6, 12)


def test_channels_are_sorted_from_the_least_entropy_to_the_greatest() -> None:
    random = np.random.default_rng(0)
    kinds = (4, 1, 16, 2, 8)  # symbols in use, by channel
    symbols = np.stack([random.integers(0, kind, (3, 9, 9)) for kind in kinds], axis=1)
    assert by_entropy(symbols.astype(np.uint8)).order is not None
    order = by_entropy(symbols.astype(np.uint8)).order
    assert order is not None
    assert [kinds[channel] for channel in order] == sorted(kinds)


def test_an_order_is_undone_exactly() -> None:
    ordered = by_entropy(np.random.default_rng(0).integers(0, 9, VALUES.shape, np.uint8))
    there = ordered.forward(VALUES)
    assert not np.array_equal(there, VALUES)
    assert np.array_equal(ordered.backward(there), VALUES)
    assert there.flags.c_contiguous


def test_without_a_transform_values_stay_as_they_are() -> None:
    assert PLAIN.forward(VALUES) is VALUES
    assert PLAIN.backward(VALUES) is VALUES


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99, 1.0])
def test_components_are_orthonormal(kept: float) -> None:
    components = principal(VALUES, kept).components
    assert components is not None
    assert np.abs(components @ components.T - np.eye(len(components))).max() < 1e-5


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.99])
def test_as_few_components_are_kept_as_hold_the_energy_that_was_asked_for(wanted: float) -> None:
    transform = principal(VALUES, wanted)
    assert transform.components is not None
    sent = transform.forward(VALUES)
    whole = float(VALUES.var(axis=(0, 2, 3), dtype=np.float64).sum())
    energies = sent.var(axis=(0, 2, 3), dtype=np.float64) / whole
    assert energies.sum() >= wanted - 1e-6
    assert energies[:-1].sum() < wanted
    assert list(energies) == sorted(energies, reverse=True)


def test_all_components_give_the_values_back() -> None:
    transform = principal(VALUES, 1.0)
    assert np.abs(transform.backward(transform.forward(VALUES)) - VALUES).max() < 1e-4


def test_a_few_components_give_back_what_they_hold() -> None:
    """What is lost is a share of the variance: one less the energy kept."""
    transform = principal(VALUES, 0.99)
    lost = transform.backward(transform.forward(VALUES)) - VALUES
    whole = float(VALUES.var(axis=(0, 2, 3), dtype=np.float64).sum())
    assert np.square(lost).mean(axis=(0, 2, 3)).sum() < 0.01 * whole


def test_mixtures_of_four_need_four_components() -> None:
    transform = principal(mixtures(4, 12), 0.9999)
    assert transform.wire_shape((12, 5, 5)) == (4, 5, 5)
    assert transform.extra_macs((12, 5, 5)) == 4 * 12 * 25
    assert transform.described((12, 5, 5)) == "PCA 12 -> 4 channels"


def test_an_order_costs_nothing_and_keeps_the_shape() -> None:
    transform = by_entropy(np.zeros((2, 12, 5, 5), np.uint8))
    assert transform.wire_shape((12, 5, 5)) == (12, 5, 5)
    assert transform.extra_macs((12, 5, 5)) == 0
    assert "entropy" in transform.described((12, 5, 5))


@pytest.mark.parametrize(
    "values",
    [VALUES[:, :1], np.zeros((4, 3, 2, 2), np.float32)],
    ids=["one channel", "no variance"],
)
def test_what_cannot_be_packed_has_components_all_the_same(values: FloatArray) -> None:
    transform = principal(values, 0.99)
    assert transform.wire_shape(values.shape[1:]) == values.shape[1:]
    assert np.abs(transform.backward(transform.forward(values)) - values).max() < 1e-4
