"""The flags of `isthmus bench scale`, and the configuration that they make."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus import ConfigError
from isthmus_bench.scale.config import ScaleConfig, quick_scale

_WORK = Path("isthmus-scale")
_DEFAULT = ScaleConfig(work=_WORK)
_OWN = ("kills", "fps", "fleets", "replica_price", "front_end_price")

__all__ = ["DEFAULTS", "FLAGS", "add_flags", "scale_config"]

FLAGS: dict[str, Any] = {
    "models": None,
    "bundle": None,
    "work": None,
    "slo_ms": None,
    "rounds": None,
    **dict.fromkeys(_OWN),
    "traces": None,
    "no_ray": False,
    "quick": False,
}
DEFAULTS = (
    f"--models {_DEFAULT.model} --slo-ms {_DEFAULT.slo_ms:g} --rounds {_DEFAULT.rounds} "
    f"--kills {_DEFAULT.kills} --fps {_DEFAULT.fps:g}\n"
    f"--fleets {' '.join(map(str, _DEFAULT.fleets))} --work {_WORK}\n"
    f"--replica-price {_DEFAULT.replica_price:g} --front-end-price {_DEFAULT.front_end_price:g}"
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declare what no other bench has."""
    add = parser.add_argument
    add("--no-ray", action="store_true", help="scale: plain processes only, and the simulation")
    add("--kills", type=int, metavar="N", help="scale: replicas that are killed under load")
    add("--fps", type=float, metavar="X", help="scale: frames/s of each device")
    fleets = "scale: simulate fleets of so many devices"
    add("--fleets", type=int, nargs="+", metavar="N", help=fleets)
    price = "scale: of an hour, in any currency; it is not a claim"
    add("--replica-price", type=float, metavar="X", help=price)
    add("--front-end-price", type=float, metavar="X", help="scale: likewise")
    traces = "scale: link traces, CSVs that an index.json names (default: made-up ones)"
    add("--traces", type=Path, metavar="DIR", help=traces)


def scale_config(options: argparse.Namespace) -> ScaleConfig:
    """What the flags ask for; ConfigError names the one that cannot be used."""
    work = options.work or _WORK
    config = quick_scale(work) if options.quick else ScaleConfig(work=work)
    changes: dict[str, Any] = {
        name: value
        for name in ("bundle", "slo_ms", "rounds", "traces", *_OWN)
        if (value := getattr(options, name)) is not None
    }
    if "fleets" in changes:
        changes["fleets"] = tuple(changes["fleets"])
    if options.models is not None:
        if len(options.models) != 1 or options.bundle is not None:
            raise ConfigError("scale measures one model: give --models one name, or --bundle DIR")
        changes["model"] = options.models[0]
    return replace(config, ray=not options.no_ray, **changes)
