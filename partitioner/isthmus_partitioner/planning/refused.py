"""What the runtime refuses is no place to cut: a plan goes on without it, and says why."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from isthmus import ModelError
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.graph.refusals import first_line
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.segments import device_chain, tail_model
from isthmus_partitioner.planning.trying import Tried
from isthmus_partitioner.runtime import AnyArray, all_cores, open_session, run_one

__all__ = ["notes_of", "require_parts", "try_accepted"]

TryCuts = Callable[[Sequence[NetworkCut]], Tried]
Check = Callable[[NetworkCut], None]


def notes_of(refused: Mapping[str, str]) -> Iterator[str]:
    """One note for each place, with its reason."""
    for place, reason in refused.items():
        yield f"no cut at {place}: {reason}"


def try_accepted(
    try_cuts: TryCuts, cuts: Sequence[NetworkCut], check: Check
) -> tuple[Tried, tuple[str, ...]]:
    """Try cuts; if the runtime refuses a part, those that pass `check`, else none at all.

    Also returns a note for each cut that was dropped. Nothing is checked where nothing is refused.
    Raises ModelError if the network cannot be tried even undivided.
    """
    try:
        return try_cuts(cuts), ()
    except ModelError as error:
        if not cuts:
            raise
        refused = _refused(cuts, check)
        if not refused:  # each alone would do, but they do not together
            refused = {cut.title: first_line(error) for cut in cuts}
    tried, more = try_accepted(try_cuts, [cut for cut in cuts if cut.title not in refused], check)
    return tried, (*notes_of(refused), *more)


def _refused(cuts: Sequence[NetworkCut], check: Check) -> dict[str, str]:
    """By title of the cut, why it does not pass."""
    found = {}
    for cut in cuts:
        try:
            check(cut)
        except ModelError as error:
            found[cut.title] = first_line(error)
    return found


def require_parts(
    network: Network,
    heads: Mapping[str, HeadGraph],
    feed: Mapping[str, AnyArray],
    cut: NetworkCut,
) -> None:
    """ModelError if the runtime does not take one of a cut's parts, in any precision of its head.

    `feed` holds the model's inputs of one item in their graph shapes.
    """
    for head in heads.values():
        at = head.at(cut)
        if at is None:  # this precision lacks one of the tensors
            continue
        open_session(tail_model(network, at), threads=all_cores())
        held = dict(feed)
        for segment in device_chain(network, head, [at]):
            session = open_session(segment.model, threads=all_cores())
            names = [spec.name for spec in segment.outputs]
            made = run_one(session, {spec.name: held[spec.name] for spec in segment.inputs}, names)
            held |= dict(zip(names, made, strict=True))
