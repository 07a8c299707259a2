"""Where a daemon's pictures come from: folders, videos, cameras, lines of stdin."""

from isthmus_edge.daemon.sources.item import Fate, Item, Source, SourceLostError
from isthmus_edge.daemon.sources.opening import open_source
from isthmus_edge.daemon.sources.stdin_lines import StdinLines

__all__ = ["Fate", "Item", "Source", "SourceLostError", "StdinLines", "open_source"]
