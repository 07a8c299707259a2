"""`isthmus report`: a bundle as a page to look at."""

import argparse
from pathlib import Path

from isthmus_cli.console import print_json
from isthmus_cli.targets import require_file
from isthmus_partitioner.report.html import render_html, save_page
from isthmus_partitioner.report.recorded import report_data

DESCRIPTION = """\
Write a bundle's plan as one HTML file that needs no network: the layers in order with
their time, bytes and memory, the cuts, every candidate with the reason for its fate, and
sliders for bandwidth, round trip, server load and the device's speed that show who is
best. About 5 MB, nearly all of it the drawing library.
"""
EXAMPLES = """\
  isthmus report lite0.bundle                  # writes lite0.html
  isthmus report lite0.bundle -o report.html
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="directory that `isthmus build` wrote")
    add("-o", "--out", type=Path, metavar="FILE", help="the page (default: NAME.html of BUNDLE)")
    add("--json", action="store_true", help="print as JSON where it lies and what it lacks")


def run(options: argparse.Namespace) -> int:
    """Write the page and say where it lies."""
    out = options.out or Path(f"{options.bundle.resolve().stem}.html")
    require_file(out, [options.bundle])
    data = report_data(options.bundle)
    save_page(out, render_html(data))
    size_bytes = out.stat().st_size
    if options.json:
        print_json(
            {
                "report": str(out),
                "size_bytes": size_bytes,
                "fingerprint": data.fingerprint,
                "notes": data.notes,
            }
        )
        return 0
    print(f"{out}: {size_bytes / 1e6:.1f} MB, bundle {data.fingerprint[:12]}; open it in a browser")
    for note in data.notes:
        print(f"  {note}")
    return 0
