"""What fleets serve: a bundle, recorded frames of its cuts, and how long its tails take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.figures import TailRow
from isthmus_bench.scale.tables import (
    PartTimes,
    SleepTables,
    measured_parts,
    save_tables,
    stretched,
)
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.recorded import load_case
from isthmus_bench.serve.subject import DEEPEST, FORTIETH, INPUT, MIXED, Served
from isthmus_bench.serve.subject import make_subject as make_served
from isthmus_cloud.engines.batch_times import BatchTimes

Say = Callable[[str], None]

__all__ = ["Subject", "make_subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A bundle at `path`, and of its cuts the `tails`, from the network's input to the deepest.

    Devices send frames of `slept`, the deepest, to fleets whose tails sleep, by `tables`: batches
    of it take `sleeping`, or `short`. `sent` are the candidates that the hop is measured with, by
    name.
    """

    path: Path
    model: str
    fingerprint: str
    slept: TailRow
    served: Served
    tables: SleepTables
    tables_path: Path
    sleeping: BatchTimes
    short: BatchTimes
    tails: tuple[TailRow, ...]
    sent: Mapping[str, Served]
    notes: tuple[str, ...]


def make_subject(config: ScaleConfig, say: Say) -> Subject:
    """The bundle of the configuration, its frames and the table of sleeping tails below the work
    folder; ConfigError or BundleError where there is nothing to serve."""
    asked = ServeBenchConfig(
        work=config.work, bundle=config.bundle, model=config.model, frames=config.frames, peers=()
    )
    served = make_served(asked, say)
    say("measuring every tail on one core")
    times = measured_parts(served.bundle)
    rows = {
        each.candidate: _row(each, times) for each in (*served.served[INPUT], *served.served[MIXED])
    }
    (deepest,) = served.served[DEEPEST]
    cut = rows[deepest.candidate].cut
    tables = SleepTables(
        usual=stretched(times, cut, config.tail_ms),
        short=stretched(times, cut, config.short_tail_ms),
    )
    path = config.work / "sleeping.json"
    save_tables(tables, path)
    return Subject(
        path=served.bundle.path,
        model=served.manifest.model_name,
        fingerprint=served.bundle.fingerprint,
        slept=rows[deepest.candidate],
        served=deepest,
        tables=tables,
        tables_path=path,
        sleeping=tables.usual.tail(times.tails[cut]),
        short=tables.short.tail(times.tails[cut]),
        tails=tuple(rows.values()),
        sent={name: served.served[name][0] for name in (DEEPEST, FORTIETH, INPUT)},
        notes=served.notes,
    )


def _row(served: Served, times: PartTimes) -> TailRow:
    case = load_case(served.case)
    tail = times.tail(case.cut)
    payload = sum(len(item.frame) for item in case.items) / len(case.items)
    took_ms = dict(zip(tail.sizes, tail.took_ms, strict=True))
    return TailRow(case.cut, case.macs_share, round(payload), took_ms, tail.knee)
