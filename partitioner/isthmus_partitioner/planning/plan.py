"""From a network with its profile to a measured plan, and the files that its bundle needs."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from isthmus import Candidate, Chain, answer_bytes
from isthmus_partitioner.agreement.metrics import Metric
from isthmus_partitioner.config import PlanConfig, Progress
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.cuts.network_dag import NetworkDag, network_dag
from isthmus_partitioner.graph.network import Network
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.build import INPUT, LOCAL, Builder
from isthmus_partitioner.parts.twins import TwinRefusedError, with_twins
from isthmus_partitioner.planning.constraints import Goals, breaches_of
from isthmus_partitioner.planning.envelope import LOCAL_ADVANTAGE, Offer
from isthmus_partitioner.planning.explain import explain
from isthmus_partitioner.planning.listing import (
    ModelCard,
    WrittenChains,
    cuts_of,
    manifest_of,
    write_chains,
    write_cloud,
    write_records,
)
from isthmus_partitioner.planning.measure import Evaluation, Surroundings, Trial, as_candidate
from isthmus_partitioner.planning.node_costs import ALL_INT8, NodeCosts, cost_key
from isthmus_partitioner.planning.probe import PROBED_STEPS, Probe
from isthmus_partitioner.planning.propose import Forecast, Proposer
from isthmus_partitioner.planning.records import Gap, GoalsRecord, Plan, PlanRecord, TransformNote
from isthmus_partitioner.planning.refused import notes_of, require_parts, try_accepted
from isthmus_partitioner.planning.selection import Standing, select
from isthmus_partitioner.planning.sizes import TensorSizes, exact_tensors, tensor_sizes
from isthmus_partitioner.planning.trying import Tried, TriedChain, try_out
from isthmus_partitioner.precision.front import WORTH_IT
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles.profile import Profile
from isthmus_partitioner.profiles.runtime_choice import TFLITE, TITLES, RuntimeNote
from isthmus_partitioner.samples import SampleSets

__all__ = ["ALL_INT8", "Groundwork", "local_chain", "make_plan"]


@dataclass(frozen=True, slots=True, eq=False)
class Groundwork:
    """All that is known before a plan is made.

    `unused` says why the device does not run some networks that it measured.
    """

    network: Network
    precision: Precision
    profile: Profile
    costs: NodeCosts
    sets: SampleSets
    metric: Metric
    card: ModelCard
    runtimes: Mapping[str, RuntimeNote] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def make_plan(known: Groundwork, config: PlanConfig, folder: Path, progress: Progress) -> Plan:
    """Propose cuts, build them below `folder`, measure, and keep what is best somewhere.

    What remains in `folder` are the files of the plan's manifest. A cut with no kept candidate
    leaves its chain again; the prefixes behind it keep the figures that were measured with it.
    TwinRefusedError where a network cannot run on the runtime that `known` has its times of.
    """
    known.card.require_fit(known.network)
    evaluation = Evaluation(known.network, known.sets.evaluation, known.metric, progress)
    wholes = tuple(evaluation.whole_inputs(config))
    places = network_dag(known.network)
    sizes, refused = _sizes(known, places, progress)
    places = places.without(refused)
    heads = _heads(known, config, exact_tensors(sizes))
    proposer = Proposer(known.network, places, heads, known.costs, sizes, config.goals.answer_top_k)
    probe = Probe(known.network, known.sets.held_back, known.metric, config.divergence_budget)
    proposed, forecasts = _proposed(known, proposer, wholes, config, probe)

    def tried_with(cuts: Sequence[NetworkCut]) -> Tried:
        return try_out(
            known.network,
            cuts,
            heads,
            known.costs,
            Builder(known.network, known.sets, known.metric, config, folder, progress),
            evaluation,
            config,
            progress,
            _all_int8(known),
        )

    check = partial(require_parts, known.network, heads, evaluation.first)
    tried, dropped = try_accepted(tried_with, proposed, check)
    notes = (*notes_of(refused | probe.refused), *dropped)
    outcome = _Outcome(wholes, tried, forecasts, notes)
    return _decided(known, config, outcome, folder, progress)


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """Whole inputs that were sent, cuts that were tried, and what had been predicted of them.

    `notes` say where the runtime refused to cut.
    """

    wholes: Sequence[Trial]
    tried: Tried
    forecasts: tuple[Forecast, ...]
    notes: tuple[str, ...]


def _sizes(
    known: Groundwork, places: NetworkDag, progress: Progress
) -> tuple[dict[str, TensorSizes], dict[str, str]]:
    """Of every tensor that may cross, and why some cannot."""
    specs = {spec.name: spec for spec in known.network.inputs} | dict(known.network.tensors)
    tensors = [specs[tensor.name] for tensor in places.dag.tensors if tensor.is_cuttable]
    return tensor_sizes(known.network, tensors, known.sets.fitted, PROBED_STEPS, progress)


def _heads(known: Groundwork, config: PlanConfig, exact: Collection[str]) -> dict[str, HeadGraph]:
    """By precision, the preferred one first."""
    network = known.network
    heads = {}
    if known.precision.chosen.kind != "fp32":
        heads["int8"] = HeadGraph(network, known.precision.head, exact)
    if not heads or not config.integer_only:
        heads["fp32"] = HeadGraph(network, network.model, exact)
    return heads


def _all_int8(known: Groundwork) -> dict[str, HeadGraph]:
    """The network in int8 throughout, where heads are a mix: it may do for answers made here.

    None where the plan's device has not measured it.
    """
    found = known.precision
    if found.int8 is None or found.chosen.kind != "mixed" or ALL_INT8 not in known.costs.device:
        return {}
    return {ALL_INT8: HeadGraph(known.network, found.int8)}


def _proposed(
    known: Groundwork,
    proposer: Proposer,
    wholes: Sequence[Trial],
    config: PlanConfig,
    probe: Probe,
) -> tuple[tuple[NetworkCut, ...], tuple[Forecast, ...]]:
    rivals = tuple(_rivals(known, proposer.preferred, wholes, config))
    return proposer.propose(rivals, config.max_cuts, config.goals.privacy_depth, probe)


def _rivals(
    known: Groundwork, precision: str, wholes: Sequence[Trial], config: PlanConfig
) -> Iterator[Offer]:
    """The ways without a cut that answer well enough, as predicted."""
    costs = known.costs
    cloud_ms = float(costs.cloud.sum())
    device_ms = float(costs.device[precision].sum())
    returned = answer_bytes(known.network.outputs, config.goals.answer_top_k)
    yield Offer(LOCAL, device_ms * (1 - LOCAL_ADVANTAGE), 0, 0)
    for trial in wholes:
        good = [s.wire for s in trial.steps if s.close.agreement >= config.agreement_floor]
        if good and config.goals.privacy_depth == 0:
            wire = min(good, key=lambda wire: wire.payload_bytes)
            encode_ms = wire.encode_ms * costs.pace(precision)
            whole_ms = wire.decode_ms + cloud_ms
            yield Offer(trial.id, encode_ms, wire.payload_bytes, whole_ms, returned)


def _decided(
    known: Groundwork, config: PlanConfig, outcome: _Outcome, folder: Path, progress: Progress
) -> Plan:
    """Choose, write down why, and leave in the folder what is needed."""
    tried, floor = outcome.tried, config.agreement_floor
    local = local_chain(tried, floor)
    factor = known.costs.pace(cost_key(local.plan.id, local.plan.precision))
    candidates = [
        *_without_head(known, config, outcome, factor),
        *tried.candidates,
        msgspec.structs.replace(tried.wholes[local.plan.id], id=LOCAL),
    ]
    cuts = {cut.id: cut for cut in cuts_of(known.network, tried, local)}
    standing = select(candidates, cuts, config.goals, config.prices)
    chosen = standing.candidates
    progress(f"keeping {sum(c.kept for c in chosen)} of {len(chosen)} candidates")
    others = tuple(_other_locals(tried, local, config.goals))
    why = explain(standing, tuple(tried.head_times), others)
    written = write_chains(known.network, tried, chosen, cuts, folder)
    twinned, twin_notes = _twinned(known, written, folder)
    why = (*why, *_runtime_words(known, twinned.chains))
    cloud = write_cloud(known.network, tried, chosen, known.sets, folder, progress)
    record = msgspec.structs.replace(
        _record(known, outcome, standing, others, why, twin_notes),
        unbatched=cloud.unbatched,
        parts_ratio=median(cloud.ratios.values()),
    )
    write_records(folder, {"plan": record, "profile": known.profile})
    manifest = manifest_of(
        known.network,
        twinned,
        cloud,
        chosen,
        cuts,
        folder,
        card=known.card,
        metric=known.metric.name,
        floor=floor,
        edge_factor=factor,
    )
    return Plan(manifest=manifest, record=record)


def _without_head(
    known: Groundwork, config: PlanConfig, outcome: _Outcome, factor: float
) -> Iterator[Candidate]:
    """The candidates that send whole inputs."""
    around = Surroundings(
        edge_ms=0.0,
        memory_bytes=0,
        factor=factor,
        tail_ms=outcome.tried.input_tail_ms,
        answer_bytes=answer_bytes(known.network.outputs, config.goals.answer_top_k),
    )
    return (as_candidate(trial, around, config.agreement_floor) for trial in outcome.wholes)


def _twinned(
    known: Groundwork, written: WrittenChains, folder: Path
) -> tuple[WrittenChains, tuple[str, ...]]:
    """The chains with TFLite twins and their runtimes, and why some stay ONNX."""
    chains: list[Chain] = []
    notes: list[str] = []
    for chain in written.chains:
        made, why = _with_runtime(known, chain, folder)
        chains.append(made)
        if why:
            notes.append(f"chain {chain.id} runs on ONNX Runtime alone: {'; '.join(why)}")
    return WrittenChains(tuple(chains), written.depths), tuple(notes)


def _with_runtime(known: Groundwork, chain: Chain, folder: Path) -> tuple[Chain, tuple[str, ...]]:
    """A chain with its twins, and why it has none."""
    network, items = known.network, known.sets.held_back
    note = known.runtimes.get(_network_of(known, chain))
    if note is None:
        return with_twins(network, chain, "onnxruntime", folder, items)
    chain = msgspec.structs.replace(chain, unfit=note.unfit)
    if set(TFLITE) <= set(note.unfit):
        return chain, (f"{' and '.join(TITLES[name] for name in TFLITE)} are unfit for it",)
    made, why = with_twins(network, chain, note.runtime, folder, items)
    if why and note.runtime != "onnxruntime":
        raise TwinRefusedError(note.network, why[0])
    return made, why


def _network_of(known: Groundwork, chain: Chain) -> str:
    """What profiles call the network that a chain divides."""
    return known.precision.networks[cost_key(chain.id, chain.precision)]


def _runtime_words(known: Groundwork, chains: Iterable[Chain]) -> tuple[str, ...]:
    """Of the networks that the device has in the end."""
    there = {_network_of(known, chain) for chain in chains}
    return tuple(note.reason for note in known.runtimes.values() if note.network in there)


def _record(
    known: Groundwork,
    outcome: _Outcome,
    standing: Standing,
    others: tuple[Candidate, ...],
    why: tuple[str, ...],
    twin_notes: tuple[str, ...],
) -> PlanRecord:
    tried, sets = outcome.tried, known.sets
    kept = {c.cut for c in standing.candidates if c.kept} | {INPUT, LOCAL}
    return PlanRecord(
        goals=GoalsRecord.of(standing),
        prices=standing.prices,
        wins=standing.wins,
        nearest=standing.nearest,
        rejected=(*(c for c in standing.candidates if c.cut not in kept), *others),
        forecasts=tuple(_named(f, tried) for f in outcome.forecasts),
        gaps=tuple(_gaps(known, tried)),
        front=known.precision.tried,
        head_times=tuple(tried.head_times),
        transforms=tuple(_notes(tried)),
        layout=tried.layout,
        why=why,
        runtimes=tuple(known.runtimes.values()),
        notes=(*known.network.notes, *sets.notes, *outcome.notes, *known.unused, *twin_notes),
        precision=known.precision.chosen.name,
        precision_reason=known.precision.reason,
        calibration_items=len(sets.fitted) + len(sets.held_back),
        evaluation_items=len(sets.evaluation),
        evaluation_sources=len(set(sets.evaluation.sources)),
    )


def _other_locals(tried: Tried, local: TriedChain, goals: Goals) -> Iterator[Candidate]:
    """The whole network on the device in the precisions that were not chosen."""
    chosen_ms = local.prefix_ms[-1]
    seen = {local.plan.precision}
    for name, candidate in tried.wholes.items():
        chain = tried.chains[name]
        if chain.plan.precision not in seen:
            seen.add(chain.plan.precision)
            ratio = chain.prefix_ms[-1] / chosen_ms
            too_far = (
                b.words for b in breaches_of(candidate, 1.0, goals) if b.field == "min_agreement"
            )
            time = f"takes {ratio:.2f} times as long as local ({local.plan.precision})"
            yield msgspec.structs.replace(candidate, reason="; ".join((*too_far, time)))


def local_chain(tried: Tried, floor: float) -> TriedChain:
    """The fastest whole chain that answers well enough; if none does, the most faithful one.

    The network in int8 throughout is another network in memory, so it has to gain time.
    """
    wholes = tried.wholes
    good = [name for name, c in wholes.items() if c.figures.agreement >= floor]
    if not good:
        return tried.chains[max(wholes, key=lambda name: wholes[name].figures.agreement)]

    def cost_ms(name: str) -> float:
        whole_ms = tried.chains[name].prefix_ms[-1]
        return whole_ms / WORTH_IT if name == ALL_INT8 else whole_ms

    return tried.chains[min(good, key=cost_ms)]


def _named(forecast: Forecast, tried: Tried) -> Forecast:
    """With the id of the cut that was built of it."""
    for cut in tried.cuts.values():
        tensors = tuple(spec.name for spec in cut.at.cut.tensors)
        if (
            tensors == forecast.tensors
            and tried.chains[cut.chain].plan.precision == forecast.precision
        ):
            return msgspec.structs.replace(forecast, cut=cut.id)
    return forecast


def _gaps(known: Groundwork, tried: Tried) -> Iterator[Gap]:
    figures = {c.cut: c.figures for c in tried.candidates}
    for cut in tried.cuts.values():
        precision, head = tried.chains[cut.chain].plan.precision, cut.at.cut.head
        yield Gap(
            cut=cut.id,
            predicted_edge_ms=known.costs.device_ms(precision, head),
            measured_edge_ms=figures[cut.id].edge_ms,
            predicted_tail_ms=known.costs.cloud_ms(head),
            measured_tail_ms=figures[cut.id].tail_ms,
        )


def _notes(tried: Tried) -> Iterator[TransformNote]:
    for cut in tried.cuts.values():
        yield TransformNote(
            cut=cut.id,
            transforms=cut.transforms,
            has_bias=cut.has_bias,
            bottleneck=cut.bottleneck,
        )
