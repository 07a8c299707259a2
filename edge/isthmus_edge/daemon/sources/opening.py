"""From a section of the file to the source that it describes."""

from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.sections import (
    CameraSection,
    DirectorySection,
    SourceSection,
    StdinSection,
    VideoSection,
)
from isthmus_edge.daemon.sources.directory import open_directory
from isthmus_edge.daemon.sources.item import Source
from isthmus_edge.daemon.sources.stdin import StdinSource
from isthmus_edge.daemon.sources.stdin_lines import StdinLines
from isthmus_edge.daemon.sources.video import open_camera, open_video

__all__ = ["open_source"]


def open_source(
    section: SourceSection, name: str, tell: Tell, stdin: StdinLines | None = None
) -> Source:
    """The source; no device is touched before its items are asked for.

    `stdin` is what an earlier source may have begun to read.

    ConfigError if a library is missing, with the extra that brings it.
    """
    match section:
        case DirectorySection():
            return open_directory(section, name, tell)
        case VideoSection():
            return open_video(section, name)
        case CameraSection():
            return open_camera(section, name)
        case StdinSection():
            return StdinSource(section, stdin or StdinLines())
