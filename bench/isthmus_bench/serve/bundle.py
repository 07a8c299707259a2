"""The bundle that is served: one chain of nested cuts at fixed shares of the work.

A plan keeps the cuts that are best on some link, which differ from machine to machine. Here the
cuts are given, so that the same is measured everywhere: heads in fp32, the ladders, stages, tails
and parts that a plan would have there. Nothing is raced, so the figures in its manifest are empty.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from isthmus import (
    UNMEASURED,
    BundleError,
    Candidate,
    Chain,
    ConfigError,
    Cut,
    CutTensor,
    Encoding,
    ModelError,
    Raw,
    Rung,
    encode_manifest,
    open_bundle,
)
from isthmus.manifest import MANIFEST_NAME
from isthmus_bench.edge.nested import nested_cuts
from isthmus_bench.plan.config import PlanBenchConfig
from isthmus_bench.plan.subject import Subject, subject_of
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_partitioner import ModelCard, PlanConfig
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.build import INPUT, LOCAL, Builder, BuiltCut, input_cut, tail_cut
from isthmus_partitioner.parts.chains import ChainPlan
from isthmus_partitioner.parts.cloud import write_cloud_side
from isthmus_partitioner.parts.together import frames_of, some_items
from isthmus_partitioner.planning.listing import WrittenChains, manifest_of

Say = Callable[[str], None]
SHARES = (0.25, 0.4, 0.65, 0.87, 0.95)  # of the work before each cut
_PLACES = (31, 15, 7)  # evenly spread over the work, the nearest are taken; in a small network less
_CHAIN = "fp32"
_ITEMS = 24  # to fit ladders with, and as many more to evaluate on
_PLAN = PlanConfig(steps=(1 / 4, 1 / 2, 3 / 4), pictures=("jpeg",), bottleneck=False)

__all__ = ["SHARES", "made_bundle", "make_work_folder"]


def made_bundle(config: ServeBenchConfig, say: Say) -> Path:
    """Its folder below the work folder; one that is already there, and whole, is taken again.

    ConfigError if the model's package is not installed, ModelError if it cannot be divided.
    """
    out = config.work / f"{config.model}.bundle"
    try:
        open_bundle(out, "cloud")
        open_bundle(out, "device")
    except BundleError:
        shutil.rmtree(out, ignore_errors=True)
        say(f"making a bundle of {config.model} with {len(SHARES)} cuts")
        asked = PlanBenchConfig(models=(config.model,), calibration=_ITEMS, evaluation=_ITEMS)
        make_work_folder(config.work)
        _write(subject_of(config.model, asked, config.work), out, say)
    return out


def make_work_folder(path: Path) -> None:
    """With all above it; ConfigError if that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be made ({error.strerror}); name another folder with --work"
        ) from error


def _write(subject: Subject, out: Path, say: Say) -> None:
    network, sets = subject.network, subject.sets
    head = HeadGraph(network, network.model)
    places = tuple(at for cut in _cuts(subject, head) if (at := head.at(cut)) is not None)
    plan = ChainPlan(_CHAIN, "fp32", head, places)
    out.mkdir()
    builder = Builder(network, sets, subject.metric, _PLAN, out, say)
    chain = builder.chain(plan)
    built = list(builder.fit(plan, chain, range(1, len(places) + 1)))
    for whole in (out / "cloud").glob("whole-*"):  # plans measure with these
        whole.unlink()
    tails = [input_cut(network), *map(tail_cut, built)]
    frames = frames_of(network, tails, some_items((sets.held_back, sets.fitted)))
    cloud = write_cloud_side(network, tails, frames, out, say)
    cuts = {cut.id: cut for cut in _records(subject, chain, built)}
    manifest = manifest_of(
        network,
        WrittenChains((chain,), {}),
        cloud,
        list(_candidates(subject, built)),
        cuts,
        out,
        card=ModelCard(subject.name),
        metric=subject.metric.name,
        floor=_PLAN.agreement_floor,
        edge_factor=1.0,
    )
    (out / MANIFEST_NAME).write_bytes(encode_manifest(manifest))


def _cuts(subject: Subject, head: HeadGraph) -> list[NetworkCut]:
    """Those nearest to the wanted shares, the shallowest first."""
    found = _places(subject, head)
    fewest = min(len(cut.tensors) for cut in found)
    places = [cut for cut in found if len(cut.tensors) == fewest]
    nearest = {min(places, key=partial(_distance, share)) for share in SHARES}
    return sorted(nearest, key=lambda cut: len(cut.head))


def _distance(share: float, cut: NetworkCut) -> float:
    return abs(cut.macs_share - share)


def _places(subject: Subject, head: HeadGraph) -> tuple[NetworkCut, ...]:
    *most, least = _PLACES
    for count in most:
        with suppress(ModelError):
            return nested_cuts(subject.network, [head], count)
    return nested_cuts(subject.network, [head], least)


def _records(subject: Subject, chain: Chain, built: Sequence[BuiltCut]) -> Iterator[Cut]:
    inputs = tuple(CutTensor(boundary=spec, wire=spec) for spec in subject.network.inputs)
    yield Cut(id=INPUT, chain=chain.id, depth=0, macs_share=0.0, tensors=inputs)
    for each in built:
        yield Cut(
            id=each.id,
            chain=chain.id,
            depth=each.depth,
            macs_share=each.at.cut.macs_share,
            tensors=each.tensors,
            answers=each.at.cut.answers,
        )
    depth = len(chain.segments)
    yield Cut(id=LOCAL, chain=chain.id, depth=depth, macs_share=1.0, tensors=())


def _candidates(subject: Subject, built: Sequence[BuiltCut]) -> Iterator[Candidate]:
    raw = tuple(Raw() for _ in subject.network.inputs)
    yield _candidate(f"{INPUT}-raw", INPUT, (raw,), "none")
    for each in built:
        yield _candidate(each.id, each.id, tuple(each.ladder), "fp32")
    yield _candidate(LOCAL, LOCAL, ((),), "fp32")


def _candidate(
    name: str, cut: str, ladder: Sequence[tuple[Encoding, ...]], precision: Literal["none", "fp32"]
) -> Candidate:
    """It begins at the middle of its ladder, which is no claim about its agreement."""
    return Candidate(
        id=name,
        cut=cut,
        precision=precision,
        rungs=tuple(Rung(encodings=encodings, figures=UNMEASURED) for encodings in ladder),
        chosen=len(ladder) // 2,
        kept=True,
        reason="given, for the benchmark",
    )
