"""`isthmus edge check`: look a daemon's configuration over, and start nothing."""

import argparse
from pathlib import Path

from isthmus import open_bundle
from isthmus_edge.daemon import read_config
from isthmus_edge.daemon.output import open_sinks
from isthmus_edge.daemon.parts import open_sources, require_pictures

DESCRIPTION = """\
Look over the TOML file of `isthmus edge --config`: every key and value, every byte of the
bundle, the libraries that its sources need, the folder of its output. Nothing is started,
no camera opened, no socket made. Ends with 0 if the daemon would start, with 1 and the
reason if not.
"""
EXAMPLES = """\
  isthmus edge check --config edge.toml
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def run(options: argparse.Namespace) -> int:
    """Check, and say what the file describes."""
    config = read_config(options.config)
    open_sinks(config.output)
    sources = open_sources(config.sources, lambda *_, **__: None)
    bundle = open_bundle(config.agent.bundle, "device")
    if sources:
        require_pictures(bundle.manifest)
    print(f"{options.config}: fine")
    print(f"bundle    {bundle.manifest.model_name}, {bundle.path}")
    print(f"cloud     {config.agent.cloud or 'none: the device answers alone'}")
    print(f"endpoint  {', '.join(config.endpoint.listen) or 'none'}")
    for name, source in sources.items():
        print(f"source    {name}: {source.kind}")
    return 0
