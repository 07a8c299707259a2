"""The flags of `isthmus cloud --engine ray`: where replicas run, how many, and what each has; and
those of them that `isthmus export ray` takes."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from isthmus import ConfigError
from isthmus_cloud.replicas.settings import RAY, RaySettings

__all__ = [
    "add_ray_flags",
    "add_replica_flags",
    "given_ray_flags",
    "ray_settings",
    "replica_settings",
]

_DEFAULT = RaySettings()


def add_ray_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them; none has a default here, so that it is known which were given."""
    group = parser.add_argument_group(
        "replicas (--engine ray)",
        "This service is then one front end of as many as you start: devices, batches and retries "
        "are its affair, the tails run on replicas of Ray Serve (docs/scale.md).",
    )
    add = group.add_argument
    add(
        "--ray-address",
        metavar="HOST:PORT",
        help="a cluster's head, or auto for the cluster that this machine is a node of (default: "
        "start Ray here, for as long as the service runs)",
    )
    add_replica_flags(add)
    add(
        "--ray-models",
        type=int,
        metavar="N",
        help="one deployment for all models, whose replicas hold N of them at a time, those that "
        "were asked for last; for many that are rarely used (default: each has its own)",
    )


def add_replica_flags(add: Callable[..., Any]) -> None:
    """Declare those that are about the replicas of one bundle, whoever deploys them."""
    add(
        "--ray-replicas",
        type=_span,
        metavar="N|MIN:MAX",
        help="replicas of every deployment; between two numbers they follow the load (default 1)",
    )
    _float(add, "--ray-target", "calls under way at which one replica is busy enough", "target")
    _float(add, "--ray-up-s", "seconds of more, after which replicas are added", "up_s")
    _float(add, "--ray-down-s", "seconds of less, after which replicas are taken away", "down_s")
    _float(add, "--ray-cpus", "cores of each replica, and its threads", "cpus")
    _float(add, "--ray-gpus", "GPUs of each replica; may be a share, as 0.25", "gpus")
    add(
        "--ray-engine",
        metavar="ENGINE",
        help="what runs the tails on a replica: as --engine, but for ray (default "
        f"{_DEFAULT.engine})",
    )
    _float(add, "--ray-drain-s", "seconds a replica has to finish in when it is to go", "drain_s")
    _float(add, "--ray-hang-s", "seconds after which a batch hangs, and its replica ends", "hang_s")
    add(
        "--ray-per-tail",
        action="store_true",
        default=None,
        help="a deployment for each tail in place of one for all tails of a bundle: each is scaled "
        "by its own load, but weights lie in memory once for each tail, and frames that were cut "
        "at different depths are not run together",
    )


def ray_settings(options: argparse.Namespace) -> RaySettings | None:
    """What was asked for; None for another engine, where flags for replicas are a ConfigError."""
    if options.engine == RAY:
        return replica_settings(options)
    given = given_ray_flags(options)
    if given:
        raise ConfigError(f"{given[0]} is for replicas; add --engine ray, or leave it out")
    return None


def replica_settings(options: argparse.Namespace) -> RaySettings:
    """What was asked for, `--provider` with it."""
    return RaySettings(provider=options.provider, **_fields(_values(options)))


def given_ray_flags(options: argparse.Namespace) -> list[str]:
    """As they stand on the command line, without their values."""
    return ["--ray-" + name.replace("_", "-") for name in _values(options)]


def _values(options: argparse.Namespace) -> dict[str, Any]:
    return {
        name.removeprefix("ray_"): value
        for name, value in vars(options).items()
        if name.startswith("ray_") and value is not None
    }


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(given)
    if "replicas" in fields:
        fields["least"], fields["most"] = fields.pop("replicas")
    return fields


def _float(add: Any, flag: str, text: str, field: str) -> None:
    default = getattr(_DEFAULT, field)
    add(flag, type=float, metavar="X", help=f"{text} (default {default:g})")


def _span(text: str) -> tuple[int, int]:
    least, colon, most = text.partition(":")
    try:
        return int(least), int(most if colon else least)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither N nor MIN:MAX") from None
