"""Stages on a real bundle: floats, two tensors, a stage of either kind."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.edge.fakes import wide_item
from tests.tinybundle import tiny_pictures
from tests.videos import still_video
from tests.widebundle import ORDER

from isthmus import Bundle, Cut, Held, Symbols, open_bundle
from isthmus_edge import Chains, Stages

AnyArray = NDArray[np.generic]


@pytest.fixture(scope="module")
def bundle(wide_bundle: Path) -> Bundle:
    return open_bundle(wide_bundle, "device")


@pytest.fixture(scope="module")
def chains(bundle: Bundle) -> Chains:
    return Chains(bundle, threads=1)


@pytest.fixture(scope="module")
def stages(bundle: Bundle) -> Stages:
    return Stages(bundle)


def cut_of(bundle: Bundle, name: str) -> Cut:
    return bundle.manifest.cut_of(bundle.manifest.candidate(name))


def symbols_of(features: AnyArray, encoding: Symbols) -> NDArray[np.uint8]:
    plain = np.rint(features.astype(np.float64) / encoding.step) + encoding.zero_point
    symbols: NDArray[np.uint8] = np.clip(plain, 0, encoding.levels - 1).astype(np.uint8)
    return symbols


def boundary_of(chains: Chains, cut: Cut, picture: NDArray[np.uint8]) -> list[AnyArray]:
    held = chains.of(cut).head(wide_item(picture), cut.depth)
    return [held[tensor.boundary.name] for tensor in cut.tensors]


@pytest.mark.parametrize("rung", range(4))
def test_a_stage_makes_symbols_of_floats_at_the_step_of_the_rung(
    chains: Chains, stages: Stages, bundle: Bundle, rung: int
) -> None:
    cut = cut_of(bundle, "floats")
    (encoding,) = bundle.manifest.candidate("floats").rungs[rung].encodings
    assert isinstance(encoding, Symbols)
    boundary = boundary_of(chains, cut, tiny_pictures(3)[2])
    (symbols,) = stages.wire(cut, boundary, (encoding,), None)
    assert symbols.max() > 0
    np.testing.assert_array_equal(symbols, symbols_of(boundary[0], encoding))


def test_a_stage_keeps_the_symbol_of_a_value_that_moved_less_than_the_hold(
    chains: Chains, stages: Stages, bundle: Bundle
) -> None:
    cut = cut_of(bundle, "floats")
    (encoding,) = bundle.manifest.candidate("floats").rungs[2].encodings
    assert isinstance(encoding, Symbols)
    first, second = (boundary_of(chains, cut, p) for p in still_video(2))
    before = symbols_of(first[0], encoding)
    (symbols,) = stages.wire(cut, second, (encoding,), Held({0: before}))
    plain = symbols_of(second[0], encoding)
    held = (before.astype(np.float64) - encoding.zero_point) * encoding.step
    distance = np.abs(second[0].astype(np.float64) - held)
    expected = np.where(distance <= 0.75 * encoding.step, before, plain)
    np.testing.assert_array_equal(symbols, expected)
    assert np.count_nonzero(symbols != before) < np.count_nonzero(plain != before)


def test_a_stage_of_integers_changes_their_order_and_other_tensors_pass(
    chains: Chains, stages: Stages, bundle: Bundle
) -> None:
    cut = cut_of(bundle, "pair")
    halves, lit = boundary_of(chains, cut, tiny_pictures(3)[2])
    encodings = bundle.manifest.candidate("pair").encodings
    ordered, mask = stages.wire(cut, (halves, lit), encodings, None)
    np.testing.assert_array_equal(ordered, halves[:, ORDER])
    assert mask is lit
