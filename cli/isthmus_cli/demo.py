"""`isthmus demo`: the whole loop on a real network."""

import argparse
import json
from pathlib import Path

from isthmus_bench.demo import DemoConfig, run_demo
from isthmus_bench.demo_report import demo_json, demo_lines, draw_charts
from isthmus_cli.console import Steps, check_writable, sigterm_as_ctrl_c, write_file

DESCRIPTION = """\
Build a bundle of EfficientNet-Lite0, start a cloud and a slowed device as two processes,
put a shaped link between them, and show what every way to answer a frame costs on it:
edge only, the picture to the cloud, and the cuts between. Then a live run while the link
changes and is cut off for a while. Takes about two minutes.
"""
EXAMPLES = """\
  isthmus demo
  isthmus demo --json figures.json --edge-network-ms 300
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("--out", type=Path, default=Path("demo-output"), help="folder for bundle and charts")
    add("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    add("--quiet", action="store_true", help="no progress lines")
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument(
        "--edge-network-ms",
        type=float,
        default=150.0,
        metavar="MS",
        help="slow the device until the int8 network takes this long (default %(default)s)",
    )
    speed.add_argument("--edge-factor", type=float, metavar="F", help="or slow it F times")


def run(options: argparse.Namespace) -> int:
    """Run the demo and print its report."""
    sigterm_as_ctrl_c()
    config = DemoConfig(
        out=options.out,
        edge_network_ms=options.edge_network_ms,
        edge_factor=options.edge_factor,
    )
    if options.json is not None:
        check_writable(options.json)
    steps = Steps(quiet=options.quiet)
    result = run_demo(config, steps)
    charts = draw_charts(result, config)
    print("\n".join(demo_lines(result, config)))
    print("\nd. Charts")
    for chart in charts:
        print(f"   {chart}")
    if options.json is not None:
        write_file(options.json, json.dumps(demo_json(result, config), indent=1) + "\n")
    return 0
