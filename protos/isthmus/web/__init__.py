"""A small web server for looking inside: pages, figures and events, on nothing but asyncio.

Not a web framework: GET and HEAD, one request a connection, bounded in every direction. The cloud
service and the device's daemon serve the live page, `/metrics` and probes with it.
"""

from isthmus.web.board import (
    Agreement,
    Batch,
    Board,
    Deployed,
    Device,
    Fact,
    Happened,
    Kind,
    Level,
    Share,
    Tone,
    Total,
    Trend,
    encode_board,
    shortened,
)
from isthmus.web.config import WebConfig, read_token
from isthmus.web.events import EventLog
from isthmus.web.feed import Feed
from isthmus.web.messages import Reply, Request
from isthmus.web.minute import Minute
from isthmus.web.page import live_page
from isthmus.web.recent import Recent
from isthmus.web.server import Handler, Patience, Route, WebServer, probe

__all__ = [
    "Agreement",
    "Batch",
    "Board",
    "Deployed",
    "Device",
    "EventLog",
    "Fact",
    "Feed",
    "Handler",
    "Happened",
    "Kind",
    "Level",
    "Minute",
    "Patience",
    "Recent",
    "Reply",
    "Request",
    "Route",
    "Share",
    "Tone",
    "Total",
    "Trend",
    "WebConfig",
    "WebServer",
    "encode_board",
    "live_page",
    "probe",
    "read_token",
    "shortened",
]
