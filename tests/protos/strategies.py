"""What hypothesis draws for the tests of the wire."""

from hypothesis import strategies as st

from isthmus import CutTensor, Encoding, Lossless, Raw, Symbols
from isthmus_bench.fuzz.cases import (
    DATA_TYPES,
    LEVELS,
    PREDICTORS,
    AnyArray,
    array_of,
    mostly,
    plain,
    quantised,
    staged,
    symbols,
)


def shapes(at_least: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    """Ranks up to 4, odd sides, sides of 1."""
    return st.lists(st.integers(1, 7), min_size=at_least, max_size=4).map(tuple)


def batch_axes(rank: int) -> st.SearchStrategy[int | None]:
    """Every place of the batch, and none."""
    return st.none() | st.integers(0, rank)


@st.composite
def exact_cases(draw: st.DrawFn) -> tuple[CutTensor, Encoding]:
    """A tensor that crosses to the bit."""
    shape = draw(shapes())
    axis = draw(batch_axes(len(shape)))
    tensor = plain(draw(st.sampled_from(DATA_TYPES)), *shape, batch_axis=axis)
    encodings: tuple[Encoding, ...] = (Raw(), Lossless())
    return tensor, draw(st.sampled_from(encodings))


@st.composite
def symbol_cases(draw: st.DrawFn) -> tuple[CutTensor, Encoding]:
    """A tensor that crosses as symbols, from a table or from a stage."""
    predictor = draw(st.sampled_from(PREDICTORS))
    rank = PREDICTORS.index(predictor)  # each looks one axis further back
    shape = draw(shapes(rank))
    axis = draw(batch_axes(len(shape))) if shape else 0  # a quantised tensor has a dimension
    tensor = draw(st.sampled_from((quantised, staged)))(*shape, batch_axis=axis)
    levels = draw(st.sampled_from(LEVELS))
    zero_point = draw(st.integers(0, levels - 1))
    return tensor, symbols(levels, predictor, zero_point)


@st.composite
def tensors_for(draw: st.DrawFn, tensor: CutTensor, encoding: Encoding) -> AnyArray:
    """What the head or the stage hands the encoder for one tensor."""
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    if isinstance(encoding, Symbols) and tensor.quantisation is None:
        levels, blank = encoding.levels, encoding.zero_point
        found = mostly(blank, share, tensor.wire.size, levels, seed)
        return found.reshape(tensor.wire.graph_shape)
    return array_of(tensor.wire, seed, share)
