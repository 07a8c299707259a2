"""One command, `isthmus`, with a verb for each thing that Isthmus does."""

from isthmus_cli.main import main

__all__ = ["main"]
