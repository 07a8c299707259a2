"""The flags of `isthmus bench serve`, and the configuration that they make."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus import ConfigError
from isthmus_bench.serve.config import PEER_NAMES, ServeBenchConfig, quick_serve

NONE = "none"
_WORK = Path("isthmus-serve")
_DEFAULT = ServeBenchConfig(work=_WORK)

__all__ = ["DEFAULTS", "FLAGS", "add_flags", "serve_config"]

FLAGS: dict[str, Any] = {
    "models": None,
    "bundle": None,
    "work": None,
    "slo_ms": None,
    "rounds": None,
    "peers": None,
    "gpu": False,
    "quick": False,
}
DEFAULTS = (
    f"--models {_DEFAULT.model} --slo-ms {_DEFAULT.slo_ms:g} --rounds {_DEFAULT.rounds}\n"
    f"--peers {','.join(_DEFAULT.peers)} --work {_WORK}"
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declare what no other bench has."""
    add = parser.add_argument
    add("--bundle", type=Path, metavar="DIR", help="serve, scale: this one, and make none")
    add("--work", type=Path, metavar="DIR", help="serve, scale: what is made for it stays")
    add(
        "--slo-ms", type=float, metavar="MS", help="serve: 95 %%, scale: 99 %% of the frames within"
    )
    add("--rounds", type=int, metavar="N", help="serve, scale: turns of every server")
    peers = f"serve: some of {','.join(PEER_NAMES)}, or {NONE}; each is installed below --work"
    add("--peers", metavar="NAMES", help=peers)
    add("--gpu", action="store_true", help="serve: on a GPU, too")


def serve_config(options: argparse.Namespace) -> ServeBenchConfig:
    """What the flags ask for; ConfigError names the one that cannot be used."""
    work = options.work or _WORK
    config = quick_serve(work) if options.quick else ServeBenchConfig(work=work)
    changes: dict[str, Any] = {
        name: value
        for name in ("bundle", "slo_ms", "rounds")
        if (value := getattr(options, name)) is not None
    }
    if options.models is not None:
        if len(options.models) != 1 or options.bundle is not None:
            raise ConfigError("serve measures one model: give --models one name, or --bundle DIR")
        changes["model"] = options.models[0]
    if options.peers is not None:
        names = tuple(name.strip() for name in options.peers.split(",") if name.strip())
        changes["peers"] = () if names == (NONE,) else names
    return replace(config, gpu=options.gpu, **changes)
