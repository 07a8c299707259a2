"""How goals, encodings, sizes and names are written for people, wherever a report is printed."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from isthmus import (
    Chain,
    Encoding,
    Lossless,
    Manifest,
    Picture,
    PictureFormat,
    Raw,
    Symbols,
    TensorSpec,
)
from isthmus_partitioner.planning.envelope import rate_words
from isthmus_partitioner.planning.objectives import OBJECTIVES
from isthmus_partitioner.planning.records import GoalsRecord
from isthmus_partitioner.profiles.runtime_choice import TITLES

__all__ = [
    "bytes_words",
    "encoding_words",
    "encodings_words",
    "goals_words",
    "plain",
    "runtime_words",
    "runtimes_words",
    "tails_words",
    "tensor_words",
]

_FORMATS: dict[PictureFormat, str] = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


def goals_words(goals: GoalsRecord) -> str:
    """What a plan was for, and the constraints that were in force."""
    return ", ".join(_goals(goals))


def _goals(goals: GoalsRecord) -> Iterator[str]:
    most = " or ".join(OBJECTIVES[objective].most for objective in goals.objectives)
    low, high = rate_words(goals.bandwidth.low_bps), rate_words(goals.bandwidth.high_bps)
    yield f"{most} from {low} to {high} with a round trip of {goals.rtt_ms:g} ms"
    yield f"agreement at least {goals.min_agreement:g}"
    if goals.deadline_ms is not None:
        yield f"latency at most {goals.deadline_ms:g} ms"
    if goals.max_edge_memory_bytes is not None:
        yield f"heads of at most {bytes_words(goals.max_edge_memory_bytes)} on the device"
    if goals.privacy_depth:
        yield f"{goals.privacy_depth:.1%} of the multiply-accumulates before what is sent"
    if goals.no_raw_input:
        yield "no raw input sent"
    if goals.candidates is not None:
        yield f"at most {goals.candidates} candidates beside local"
    if goals.answer_top_k:
        yield f"the {goals.answer_top_k} highest values of an answer's rows come back"


def encoding_words(encoding: Encoding) -> str:
    """One wire encoding, as `JPEG q85` or `16 levels, step 0.25`."""
    match encoding:
        case Raw():
            return "raw"
        case Lossless():
            return "lossless"
        case Picture(format=name, quality=quality):
            return f"{_FORMATS[name]} {'lossless' if quality is None else f'q{quality}'}"
        case Symbols(levels=levels, step=step):
            return f"{levels} levels, step {step:.3g}"


def encodings_words(encodings: Sequence[Encoding]) -> str:
    """Those of all tensors of a cut."""
    return " + ".join(map(encoding_words, encodings)) or "nothing sent"


def tensor_words(tensor: TensorSpec) -> str:
    """A tensor as `name uint8 [40,28,28]`; the batch is left out."""
    return f"{plain(tensor.name)} {tensor.data_type} [{','.join(map(str, tensor.shape))}]"


def runtimes_words(chains: Iterable[Chain]) -> str:
    """Which runtime the device prefers for each chain, and which must not run it."""
    return ", ".join(f"{plain(chain.id)} on {runtime_words(chain)}" for chain in chains)


def runtime_words(chain: Chain) -> str:
    """That of a chain as `LiteRT (unfit: tflite-runtime)`."""
    unfit = ", ".join(TITLES[name] for name in chain.unfit)
    return f"{TITLES[chain.runtime]} (unfit: {unfit})" if unfit else TITLES[chain.runtime]


def tails_words(manifest: Manifest, unbatched: str) -> str:
    """How the cloud runs the tails, and why one by one if it does; empty where nobody knows why."""
    graphs = {part for cut in manifest.cuts for part in cut.tail}
    count = sum(1 for cut in manifest.cuts if cut.tail)
    has = f"{count}, made of {len(graphs)} graph{'' if len(graphs) == 1 else 's'}"
    if manifest.batched:
        return f"{has}; frames go together, those of different cuts where they share a graph"
    return f"{has}; frames go one by one: {plain(unbatched) or 'nothing is recorded of why'}"


def bytes_words(size: float) -> str:
    """Bytes with a decimal unit and three digits."""
    for unit in ("B", "KB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1e3
    return f"{size:.3g} GB"


def plain(name: str) -> str:
    """A name from a model file without characters that would steer a terminal or turn the line."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else character
        for character in name
    )
