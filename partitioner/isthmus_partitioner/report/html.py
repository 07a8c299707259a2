"""The report page: one file, everything in it, and no way out of it.

The page holds its data as JSON, a drawing library (plotly.js, which comes inside plotly's wheel),
and a few hundred lines of our own script. Its Content-Security-Policy admits these two scripts by
their sha256 and nothing else: neither script nor request can come out of a name in a model file.
"""

import base64
import contextlib
import hashlib
import html
import os
import secrets
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

import msgspec
from plotly.offline import get_plotlyjs

from isthmus import ConfigError
from isthmus_partitioner.planning.envelope import FASTEST_BPS, LOCAL_ADVANTAGE, SLOWEST_BPS
from isthmus_partitioner.report.data import ReportData, head_layers

__all__ = ["LINKS", "View", "render_html", "save_page"]

# Uplinks that the literature on split inference uses, in bit/s.
LINKS = {"3G": 1.1e6, "4G": 5.85e6, "Wi-Fi": 18.88e6, "LAN": 100e6}
_SCRIPTS = ("model.js", "words.js", "sliders.js", "verdict.js", "network.js", "table.js", "main.js")
# What could end a script element, or begin a comment in it, is spelled otherwise in JSON.
_SPELLED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Where the sliders stand when the page opens."""

    bandwidth_bps: float = LINKS["4G"]
    rtt_ms: float = 20.0
    load: float = 1.0
    slowdown: float = 1.0


def render_html(data: ReportData, view: View | None = None) -> str:
    """The whole page, about 5 MB, nearly all of it the drawing library."""
    plotly, script = get_plotlyjs(), _our_script()
    return Template(_asset("page.html")).substitute(
        title=html.escape(data.model_name),
        policy=_policy(plotly, script),
        style=_asset("style.css"),
        data=_json(data, view or View()),
        plotly=plotly,
        script=script,
    )


def save_page(path: Path, page: str) -> None:
    """Write the page under another name beside `path` and rename it: all of it or nothing.

    Raises ConfigError if `path` is no place for a file, or there is no room.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: is not a file; choose another name with -o")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("x", encoding="utf-8", newline="") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{path}: the report cannot be written ({reason}); make room, or choose another "
            "place with -o"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # there is none where nothing could be written
            partial.unlink(missing_ok=True)


def _json(data: ReportData, view: View) -> str:
    page = {
        "report": data,
        "heads": {cut.id: head_layers(data.layers, cut) for cut in data.cuts},
        "view": view,
        "links": LINKS,
        "localAdvantage": LOCAL_ADVANTAGE,
        "slowestBps": SLOWEST_BPS,
        "fastestBps": FASTEST_BPS,
    }
    return msgspec.json.encode(page).decode().translate(_SPELLED)


def _policy(*scripts: str) -> str:
    """Styles may be inline (plotly sets them), icons may be data; everything else is shut."""
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _our_script() -> str:
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


@cache
def _asset(name: str) -> str:
    return (files("isthmus_partitioner.report") / "page" / name).read_text(encoding="utf-8")
