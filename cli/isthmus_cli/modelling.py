"""What `profile`, `plan` and `build` share: network, inputs, settings, workbench."""

import argparse
from collections.abc import Collection, Iterable
from math import isfinite
from pathlib import Path
from typing import get_args

from isthmus import ConfigError, PictureFormat, open_profile
from isthmus_cli.console import Steps
from isthmus_cli.goals import add_goal_arguments, goals_of, prices_of
from isthmus_cli.inputs import add_input_arguments, metric_of, samples_of
from isthmus_cli.networks import add_network_arguments, chosen_network
from isthmus_cli.numbers import duration
from isthmus_cli.targets import require_apart
from isthmus_edge.profiling import profile_kit
from isthmus_models import MODELS
from isthmus_partitioner import Devices, ModelCard, PlanConfig, Workbench
from isthmus_partitioner.profiles.node_times import require_same_model

__all__ = [
    "add_model_arguments",
    "files_read",
    "folders_read",
    "plan_config",
    "speeds_given",
    "workbench_of",
]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that the three verbs share."""
    add_network_arguments(parser)
    add = parser.add_argument
    add(
        "--work",
        type=Path,
        metavar="DIR",
        help="where results of the steps are kept (default: MODEL.work)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--quiet", action="store_true", help="no progress lines")
    add_input_arguments(
        parser.add_argument_group("inputs, to fit ranges to and to compare answers on")
    )
    _add_tuning(parser.add_argument_group("plan"))
    _add_wire(parser.add_argument_group("wire"))
    add_goal_arguments(parser)


def _add_tuning(group: argparse._ArgumentGroup) -> None:
    defaults = PlanConfig()
    group.add_argument(
        "--max-cuts",
        type=_number_of_cuts,
        default=defaults.max_cuts,
        metavar="N",
        help="cuts to build and measure (default %(default)s)",
    )
    group.add_argument(
        "--integer-only",
        action="store_true",
        help="the device computes nothing but integers: heads are int8 throughout",
    )
    group.add_argument(
        "--divergence-budget",
        type=duration,
        default=defaults.divergence_budget,
        metavar="D",
        help="what int8 layers may cost, in nats of KL divergence or as a share of the answer's "
        "energy (default %(default)s, about a JPEG of quality 95)",
    )
    group.add_argument(
        "--edge",
        type=Path,
        metavar="FILE",
        help="profile of the device: `isthmus edge profile KIT -o FILE`",
    )
    group.add_argument(
        "--cloud",
        type=Path,
        metavar="FILE",
        help="profile of the server: `isthmus profile MODEL --threads N -o FILE` there",
    )
    speed = group.add_mutually_exclusive_group()
    speed.add_argument(
        "--edge-factor",
        type=duration,
        default=1.0,
        metavar="F",
        help="the device is F times slower than this machine",
    )
    speed.add_argument(
        "--edge-network-ms",
        type=duration,
        metavar="MS",
        help="or: the int8 network takes this long on the device",
    )


def _add_wire(group: argparse._ArgumentGroup) -> None:
    defaults = PlanConfig()
    group.add_argument(
        "--steps",
        type=_share,
        nargs="+",
        default=defaults.steps,
        metavar="S",
        help="quantiser steps of the ladder, in standard deviations of a cut's tensor; a "
        f"fraction is fine (default {_listed(defaults.steps)})",
    )
    group.add_argument(
        "--no-bottleneck",
        dest="bottleneck",
        action="store_false",
        default=defaults.bottleneck,
        help="try no projection onto principal components at the cuts",
    )
    group.add_argument(
        "--formats",
        nargs="+",
        choices=get_args(PictureFormat),
        default=defaults.pictures,
        metavar="FORMAT",
        help="in which whole pictures may be sent, of "
        f"{_listed(get_args(PictureFormat))} (default {_listed(defaults.pictures)})",
    )
    group.add_argument(
        "--qualities",
        type=_quality,
        nargs="+",
        default=defaults.qualities,
        metavar="Q",
        help=f"of those formats, 1-100 (default {_listed(defaults.qualities)})",
    )
    group.add_argument(
        "--lossless-pictures",
        action="store_true",
        default=defaults.lossless_pictures,
        help="try whole pictures without loss, too",
    )


def _share(text: str) -> float:
    """A number or a fraction of two, above 0."""
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number and no fraction") from error
    if not isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def _number_of_cuts(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _quality(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in 1-100")
    return int(text)


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def workbench_of(options: argparse.Namespace) -> Workbench:
    """The workbench for the model and the settings on the command line."""
    config = plan_config(options)
    devices = _devices(options)
    work = _work(options)
    require_apart(work, files_read(options))
    progress = Steps(quiet=options.quiet)
    chosen = chosen_network(options, work)
    require_same_model(devices.edge, devices.cloud, chosen.network)
    card = ModelCard(chosen.name, chosen.labels)
    card.require_fit(chosen.network)
    sets = samples_of(options, chosen)
    count = sum(map(len, (sets.fitted, sets.held_back, sets.evaluation)))
    progress(f"read {chosen.network.path} and {count} items")
    for note in (*chosen.network.notes, *sets.notes):
        progress(f"note: {note}")
    return Workbench(
        chosen.network,
        sets,
        metric_of(options, chosen, sets),
        devices=devices,
        config=config,
        work=work,
        card=card,
        progress=progress,
    )


def files_read(options: argparse.Namespace) -> tuple[Path, ...]:
    """The files that the shared flags name."""
    named = (options.edge, options.cloud, options.labels, options.prices, *(options.inputs or ()))
    model = () if options.model in MODELS else (Path(options.model),)
    return (*model, *(path for path in named if path is not None))


def folders_read(options: argparse.Namespace) -> tuple[Path, ...]:
    """The folders that the shared flags name; that of the parts is made on the way."""
    work = _work(options)
    return (work, work / "parts", *([] if options.pictures is None else [options.pictures]))


def speeds_given(options: argparse.Namespace) -> list[str]:
    """The flags that say how much slower than this machine the device is."""
    given = {
        "--edge-factor": options.edge_factor != 1,
        "--edge-network-ms": options.edge_network_ms is not None,
    }
    return [flag for flag, is_given in given.items() if is_given]


def _work(options: argparse.Namespace) -> Path:
    return options.work or Path(f"{Path(options.model).stem}.work")


def _devices(options: argparse.Namespace) -> Devices:
    if options.edge is not None and (given := speeds_given(options)):
        raise ConfigError(
            f"{given[0]}: --edge {options.edge} says how slow the device is; leave one of the two "
            "out"
        )
    edge, cloud = (
        None if path is None else open_profile(path) for path in (options.edge, options.cloud)
    )
    return Devices(measure=profile_kit, edge=edge, cloud=cloud)


def plan_config(options: argparse.Namespace) -> PlanConfig:
    """The settings on the command line; ConfigError for values that make no sense together."""
    for flag in ("steps", "formats", "qualities"):
        _require_distinct(f"--{flag}", getattr(options, flag))
    if "jpeg" not in options.formats:
        raise ConfigError(
            f"--formats {_listed(options.formats)}: misses jpeg, which a split has to beat; add it"
        )
    return PlanConfig(
        goals=goals_of(options),
        prices=prices_of(options),
        edge_factor=options.edge_factor,
        edge_network_ms=options.edge_network_ms,
        max_cuts=options.max_cuts,
        steps=tuple(options.steps),
        bottleneck=options.bottleneck,
        pictures=tuple(options.formats),
        qualities=tuple(options.qualities),
        lossless_pictures=options.lossless_pictures,
        divergence_budget=options.divergence_budget,
        integer_only=options.integer_only,
    )


def _require_distinct(flag: str, values: Collection[object]) -> None:
    if len(set(values)) < len(values):
        raise ConfigError(f"{flag} {_listed(values)}: one is there twice; name each once")
