"""The rivals give back what they took, and are weighed alike."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isthmus.errors import ConfigError
from isthmus_bench.wire.limits import order0_bytes
from isthmus_bench.wire.mosaic import from_mosaic, mosaic
from isthmus_bench.wire.rivals import Rival, tensor_rivals, zfp_tolerance
from isthmus_bench.wire.weighing import AnyArray, weigh

SHAPES = [(8, 6, 5), (7, 1, 9), (5, 7, 7), (12, 10), (30,), (2, 3, 4, 5), (1,)]
RIVALS = {rival.name: rival for rival in tensor_rivals()}
OF_SYMBOLS = [name for name, rival in RIVALS.items() if rival.takes == "symbols"]
OF_FLOATS = [name for name, rival in RIVALS.items() if rival.takes == "float32"]
HALF_PRECISION = 2.0**-11


def values(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Laplacian, as activations of a linear bottleneck are."""
    random = np.random.default_rng(1)
    return random.laplace(0.0, 3.0, shape).astype(np.float32)


def symbols(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values(shape) + 128), 0, 255).astype(np.uint8)


def there_and_back(rival: Rival, item: AnyArray) -> AnyArray:
    """The decoder learns the shape and type, and no value."""
    return rival.decode(rival.encode(item), np.zeros_like(item))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_SYMBOLS)
def test_symbols_come_back_exactly(name: str, shape: tuple[int, ...]) -> None:
    item = symbols(shape)
    decoded = there_and_back(RIVALS[name], item)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, item)


@pytest.mark.parametrize("name", OF_SYMBOLS)
def test_symbols_of_a_view_come_back_exactly(name: str) -> None:
    item = symbols((6, 5, 8)).transpose(2, 0, 1)
    np.testing.assert_array_equal(there_and_back(RIVALS[name], item), item)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_FLOATS)
def test_floats_come_back_within_the_tolerance(name: str, shape: tuple[int, ...]) -> None:
    item = values(shape)
    decoded = np.asarray(there_and_back(RIVALS[name], item), np.float64)
    is_zfp = name == "zfp lz4"
    tolerance = zfp_tolerance(item) if is_zfp else np.abs(item) * HALF_PRECISION
    assert decoded.shape == item.shape
    assert np.all(np.abs(decoded - item) <= tolerance)


@pytest.mark.parametrize("name", OF_FLOATS)
def test_a_constant_map_comes_back_exactly(name: str) -> None:
    item = np.full((4, 5, 6), 1.5, np.float32)
    decoded = there_and_back(RIVALS[name], item)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, item)


def test_the_rivals_are_those_that_were_asked_for() -> None:
    assert OF_SYMBOLS == [
        "zlib-6",
        "zstd-1",
        "zstd-3",
        "lz4",
        "blosc2 shuffle zstd-1",
        "blosc2 bitshuffle zstd-1",
        "jpeg-ls mosaic",
        "jpeg-xl mosaic",
    ]
    assert OF_FLOATS == ["zfp lz4", "fp16 zstd-3", "fp16 blosc2 shuffle zstd-1"]


@pytest.mark.parametrize("name", sorted(set(OF_SYMBOLS) - {"lz4", "blosc2 bitshuffle zstd-1"}))
def test_no_rival_is_a_straw_man(name: str) -> None:
    """A codec with an entropy coder, rightly set up, comes near the entropy of noise."""
    item = symbols((64, 16, 16))
    assert len(RIVALS[name].encode(item)) < 1.2 * order0_bytes(item)


@pytest.mark.parametrize(
    ("name", "item_bytes"),
    [("blosc2 shuffle zstd-1", 1), ("fp16 blosc2 shuffle zstd-1", 2)],
)
def test_blosc2_knows_how_many_bytes_an_element_has(name: str, item_bytes: int) -> None:
    """Told of no elements, it takes them for eight bytes long, and shuffles the symbols apart."""
    rival = RIVALS[name]
    item = symbols((30,)) if rival.takes == "symbols" else values((30,))
    assert rival.encode(item)[3] == item_bytes  # `typesize` in the header of a chunk


def test_without_imagecodecs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ConfigError, match=r"imagecodecs .*pip install 'isthmus\[wire-bench\]'"):
        tensor_rivals()


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple))
def test_a_mosaic_loses_and_adds_nothing(shape: tuple[int, ...]) -> None:
    item = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    picture = mosaic(item)
    assert picture.ndim == 2
    assert picture.size == item.size
    np.testing.assert_array_equal(from_mosaic(picture, shape), item)


def test_a_mosaic_keeps_each_map_whole_and_is_nearly_square() -> None:
    item = symbols((24, 4, 6))
    picture = mosaic(item)
    assert picture.shape == (24, 24)
    np.testing.assert_array_equal(picture[:4, :6], item[0])
    np.testing.assert_array_equal(picture[4:8, 6:12], item[5])


class Clock:
    """Shows the given times, one a look."""

    def __init__(self, *times_s: float) -> None:
        self.times_s = list(times_s)

    def __call__(self) -> float:
        return self.times_s.pop(0)


class Stored:
    """Sends an item as it is."""

    def encode(self, item: AnyArray, /) -> bytes:
        return item.tobytes()

    def decode(self, payload: bytes, like: AnyArray, /) -> AnyArray:
        return np.frombuffer(payload, like.dtype).reshape(like.shape)


def test_the_best_round_counts_for_each_direction() -> None:
    items = [np.zeros((2, 1_000_000), np.float32)] * 2
    clock = Clock(0, 4, 6, 10, 12, 15)  # begin, encoded, decoded; twice
    weighed = weigh(Stored(), items, rounds=2, budget_s=100, clock=clock)
    assert weighed.bytes_per_item == 8_000_000
    assert weighed.encode_mbps == pytest.approx(4 / 2)
    assert weighed.decode_mbps == pytest.approx(4 / 2)


def test_no_round_begins_once_the_budget_is_spent() -> None:
    clock = Clock(0, 4, 6)
    weigh(Stored(), [symbols((9,))], rounds=5, budget_s=6, clock=clock)
    assert clock.times_s == []


def test_bytes_are_the_mean_over_the_items() -> None:
    weighed = weigh(Stored(), [symbols((10,)), symbols((30,))], rounds=1)
    assert weighed.bytes_per_item == 20


@pytest.mark.parametrize(("count", "rounds"), [(0, 1), (1, 0)])
def test_weighing_nothing_is_refused(count: int, rounds: int) -> None:
    with pytest.raises(ConfigError, match=f"{count} items, {rounds} rounds"):
        weigh(Stored(), [symbols((4,))] * count, rounds=rounds)
