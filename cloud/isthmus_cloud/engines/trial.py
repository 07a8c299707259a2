"""Whether a provider gives the network's answers: its tails beside those of the CPU, before devices
come.

A provider may compute in less precision than fp32, leave operators to others, or be wrong. What it
is tried with must look like frames: symbols around their zero point with the steps of the plan,
smooth pictures. Zeros would hide an overflow, and noise would go where no frame goes.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from math import isfinite

import numpy as np

from isthmus import Bundle, Cut, CutTensor, Manifest, ModelError, Symbols, TensorSpec
from isthmus_cloud.answering.feeds import scalars_of
from isthmus_cloud.engines.seam import AnyArray, Engine, Value

MOST_ERROR = 0.01  # of an answer's norm; TF32 and fp16 stay well below, an overflow does not

__all__ = ["MOST_ERROR", "is_faster", "require_agreement", "trial_feeds", "worst_error"]

_COMPARED, _TIMED = 2, 8  # items of a batch
_TIMED_RUNS = 3
_SEED = 7
_PATCHES = 8  # of one colour along each side of a trial picture

_logger = logging.getLogger(__name__)


def require_agreement(
    engine: Engine, reference: Engine, bundle: Bundle, *, of_all: bool = False
) -> float:
    """Run every tail on both, and return the greatest error relative to an answer's norm.

    Raises ModelError where it is greater than `MOST_ERROR`, or where the engine cannot run what the
    reference can. A tail that the reference itself cannot run on invented frames is left out, or
    with `of_all` a ModelError, too.
    """
    worst = 0.0
    for cut in _with_tails(bundle):
        feeds = trial_feeds(bundle.manifest, cut, _COMPARED)
        try:
            wanted = _answers(reference, bundle, cut, feeds)
        except ModelError as problem:
            if of_all:
                raise
            _logger.warning("the tail of %s is not compared: %s", cut.id, problem)
            continue
        error = worst_error(_answers(engine, bundle, cut, feeds), wanted)
        if not error <= MOST_ERROR:
            raise ModelError(
                f"the tail of {cut.id!r} answers otherwise on {engine.provider} than on "
                f"{reference.provider}: {error:.1%} of the answer's norm, allowed are "
                f"{MOST_ERROR:.0%}"
            )
        worst = max(worst, error)
    return worst


def is_faster(
    engine: Engine,
    reference: Engine,
    bundle: Bundle,
    clock_s: Callable[[], float] = time.perf_counter,
) -> bool:
    """Whether a batch takes less time than on the reference, behind the cut that leaves most to do.

    The best of a few runs of each, in turn, so that a busy moment meets both. Also if the reference
    cannot run what there is to time.
    """
    cut = min(_with_tails(bundle), key=lambda each: each.macs_share)
    feeds = trial_feeds(bundle.manifest, cut, _TIMED)

    def took_s(which: Engine) -> float:
        began_s = clock_s()
        _answers(which, bundle, cut, feeds)
        return clock_s() - began_s

    try:
        rounds = [(took_s(engine), took_s(reference)) for _ in range(_TIMED_RUNS + 1)]
    except ModelError:
        return True
    mine, theirs = zip(*rounds[1:], strict=True)  # the first warms up
    return bool(min(mine) < min(theirs))


def trial_feeds(manifest: Manifest, cut: Cut, count: int) -> dict[str, AnyArray]:
    """`count` invented frames of a cut as its tail reads them, by name; always the same ones.

    It is one where the bundle's graphs take one at a time.
    """
    count = count if manifest.batched else 1
    random = np.random.default_rng(_SEED)
    candidates = [each for each in manifest.candidates if each.cut == cut.id]
    feeds: dict[str, AnyArray] = {}
    for index, tensor in enumerate(cut.tensors):
        encodings = [each.encodings[index] for each in candidates if each.encodings]
        symbols = next((each for each in encodings if isinstance(each, Symbols)), None)
        feeds[tensor.wire.name] = _values(tensor, symbols, count, random)
        if tensor.is_quantised:
            scalars = scalars_of(tensor, symbols or encodings[0])
            several = [each.repeat(count) if each.ndim else each for each in scalars]
            feeds |= zip(tensor.feeds[1:], several, strict=True)
    return feeds


def worst_error(got: Sequence[AnyArray], wanted: Sequence[AnyArray]) -> float:
    """The greatest of the outputs' errors: the norm of the difference by that of what is wanted;
    infinite where a shape, a type or a number that is none tells them apart."""
    return max((_error(*pair) for pair in zip(got, wanted, strict=True)), default=0.0)


def _with_tails(bundle: Bundle) -> list[Cut]:
    return [cut for cut in bundle.manifest.cuts if cut.tail]


def _error(got: AnyArray, wanted: AnyArray) -> float:
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return float("inf")
    if wanted.dtype.kind != "f":
        return float(np.mean(got != wanted)) if wanted.size else 0.0
    exact = wanted.astype(np.float64)
    norm = float(np.linalg.norm(exact))
    if not isfinite(norm):
        return 0.0 if np.array_equal(got, wanted, equal_nan=True) else float("inf")
    difference = float(np.linalg.norm(got.astype(np.float64) - exact))
    return difference / norm if norm else difference


def _values(
    tensor: CutTensor, symbols: Symbols | None, count: int, random: np.random.Generator
) -> AnyArray:
    """So many items of a wire tensor."""
    spec = tensor.wire
    shape = _shape(spec, count)
    if symbols is not None:
        spread = random.laplace(symbols.zero_point, symbols.levels / 16, shape)
        return np.clip(np.rint(spread), 0, symbols.levels - 1).astype(spec.data_type)
    if spec.data_type == "uint8":
        return _smooth(shape, random)
    if spec.data_type.startswith("float"):
        return random.normal(size=shape).astype(spec.data_type)
    return np.ones(shape, spec.data_type)  # ids, masks: what every network knows


def _shape(spec: TensorSpec, count: int) -> tuple[int, ...]:
    axis = spec.batch_axis
    return spec.shape if axis is None else (*spec.shape[:axis], count, *spec.shape[axis:])


def _smooth(shape: tuple[int, ...], random: np.random.Generator) -> AnyArray:
    """Bytes in patches, as pictures have them."""
    coarse = random.integers(0, 256, tuple(min(size, _PATCHES) for size in shape))
    for axis, size in enumerate(shape):
        places = np.arange(size) * coarse.shape[axis] // size
        coarse = coarse.take(places, axis)
    return coarse.astype(np.uint8)


def _answers(
    engine: Engine, bundle: Bundle, cut: Cut, feeds: Mapping[str, AnyArray]
) -> list[AnyArray]:
    values: dict[str, Value] = dict(feeds)
    for name in cut.tail:
        program = engine.load(bundle.file(name))
        made = program.run({each: values[each] for each in program.inputs})
        values |= zip(program.outputs, made, strict=True)
    known = [spec.name for spec in bundle.manifest.outputs if spec.name in values]
    return [engine.to_host(values[name]) for name in known]
