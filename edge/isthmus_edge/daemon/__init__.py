"""The agent as a daemon: settings from a TOML file, sources, an endpoint, and a life of its own."""

from isthmus_edge.daemon.control import ask_status
from isthmus_edge.daemon.daemon import Daemon, run_daemon
from isthmus_edge.daemon.sections import DaemonConfig
from isthmus_edge.daemon.settings import parse_config, read_config
from isthmus_edge.daemon.status import Status

__all__ = [
    "Daemon",
    "DaemonConfig",
    "Status",
    "ask_status",
    "parse_config",
    "read_config",
    "run_daemon",
]
