"""`isthmus edge check`: look a daemon's configuration over, and start nothing."""

import argparse
from pathlib import Path

from isthmus_edge.daemon import DaemonConfig, read_config
from isthmus_edge.daemon.checks import Checked, checked

DESCRIPTION = """\
Look over the TOML file of `isthmus edge --config`: every key and value, every byte of the
bundle, the runtime, the candidate, certificates and tokens, the libraries that its sources
need, the folder of its output, the settings of its live page. Nothing is started, no camera
opened, no socket made, no cloud asked. Ends with 0 if the daemon would start, with 1 and
the reason if not. What will run on another runtime than the plan chose is a warning.
"""
EXAMPLES = """\
  isthmus edge check --config edge.toml
"""

_ALONE = "none: the device answers alone"

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def run(options: argparse.Namespace) -> int:
    """Check, and say what the file describes."""
    config = read_config(options.config)
    found = checked(config)
    print(f"{options.config}: fine")
    print(f"bundle    {_bundle(config, found)}")
    print(f"cloud     {', '.join(map(str, config.agent.targets)) or _ALONE}")
    print(f"endpoint  {', '.join(config.endpoint.listen) or 'none'}")
    print(f"dashboard {_dashboard(found)}")
    for name, source in found.sources.items():
        print(f"source    {name}: {source.kind}")
    for text in found.departures:
        print(f"warning   {text}")
    return 0


def _bundle(config: DaemonConfig, found: Checked) -> str:
    if found.bundle is None:
        assert config.bundle is not None
        return f"none kept in {config.bundle.folder} yet: {config.bundle.model} is fetched first"
    return f"{found.bundle.manifest.model_name}, {found.bundle.path}"


def _dashboard(found: Checked) -> str:
    page = found.dashboard
    if page is None:
        return "none"
    token = ", with a token" if page.token is not None else ""
    return f"{'https' if page.has_tls else 'http'}://{page.listen}{token}"
