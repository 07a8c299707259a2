"""What a replica keeps of video streams: bounded; the oldest are forgotten first."""

from collections import OrderedDict
from collections.abc import Iterable

from isthmus_cloud.answering.memory import StreamMemory

MOST_STREAMS = 4096
MOST_BYTES = 256 * 1024 * 1024  # of kept symbols

__all__ = ["Memories"]


class Memories:
    """By the stream's name; beyond the bounds, those of the longest silence are let go, and their
    next frame is told to come as a key frame. Used on one thread."""

    def __init__(self, most_streams: int = MOST_STREAMS, most_bytes: int = MOST_BYTES) -> None:
        self._most_streams = most_streams
        self._most_bytes = most_bytes
        self._held: OrderedDict[str, StreamMemory] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def of(self, name: str) -> StreamMemory:
        """That of a stream, perhaps a new one."""
        memory = self._held.setdefault(name, StreamMemory())
        self._held.move_to_end(name)
        while len(self._held) > self._most_streams:
            self._forget_oldest()
        return memory

    def has(self, name: str, mark: int) -> bool:
        """See `StreamMemory.has`."""
        memory = self._held.get(name)
        return memory is not None and memory.has(mark)

    def settle(self, names: Iterable[str]) -> None:
        """Frames of these were decoded: they may keep more than before."""
        for name in names:
            memory = self._held.get(name)
            if memory is not None:
                size_bytes = memory.kept_bytes
                self._bytes += size_bytes - self._sizes.get(name, 0)
                self._sizes[name] = size_bytes
        while self._bytes > self._most_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        name, _ = self._held.popitem(last=False)
        self._bytes -= self._sizes.pop(name, 0)
