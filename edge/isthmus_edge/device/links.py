"""The segments of a bundle that are loaded, each by the first of its runtimes that can."""

import gc
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence

from isthmus import Bundle, BundleError, FileEntry, ModelError, RuntimeName, Segment
from isthmus import Chain as ChainRecord
from isthmus.files import check_file
from isthmus_edge.device.chain import Link
from isthmus_edge.runtimes import GraphFiles, Runtimes

# What two chains share is loaded once, unless the plan lets other runtimes run it in one of them.
Key = tuple[Segment, tuple[RuntimeName, ...]]

__all__ = ["Links"]


class Links:
    """What several chains share is here once; what it takes is remembered when it has gone."""

    def __init__(self, bundle: Bundle, threads: int, runtimes: Runtimes) -> None:
        self._bundle = bundle
        self._threads = threads
        self._runtimes = runtimes
        self._entries = {entry.path: entry for entry in bundle.manifest.files}
        self._held: dict[Key, Link] = {}
        self._taken_bytes: dict[Key, int] = {}  # as it was when it was loaded last
        self._news: deque[str] = deque()
        self._told: set[str] = set()

    def load(self, record: ChainRecord) -> list[Link]:
        """All of a chain or none; ModelError if none of its runtimes can load one."""
        links: dict[Key, Link] = {}
        failures: list[tuple[RuntimeName, ModelError]] = []
        for key in self._keys(record):
            links[key] = self._held.get(key) or self._linked(record, key[0], failures)
        self._held |= links
        self._taken_bytes |= {key: link.graph.memory_bytes for key, link in links.items()}
        self._tell(record, failures)
        return list(links.values())

    def keep_only(self, records: Iterable[ChainRecord]) -> None:
        """All that no chain of these needs goes."""
        needed = {key for record in records for key in self._keys(record)}
        self._held = {key: link for key, link in self._held.items() if key in needed}
        gc.collect()  # the sessions' memory goes back now

    def bytes_of(self, records: Iterable[ChainRecord]) -> int:
        """What chains take together: what was seen of it, and at least their files."""
        return sum(
            self._taken_bytes[key] if key in self._taken_bytes else self._file_bytes(*key)
            for key in {key for record in records for key in self._keys(record)}
        )

    @property
    def memory_bytes(self) -> int:
        """What all that is loaded takes, from any thread: see `Graph.memory_bytes`."""
        return sum(link.graph.memory_bytes for link in tuple(self._held.values()))

    def check(self, record: ChainRecord) -> None:
        """ModelError if a file of a chain that is not loaded is not what the bundle had."""
        for key in self._keys(record):
            if key not in self._held:
                for entry in self._entries_of(*key):
                    self._check(record, entry)

    def news(self) -> Iterator[str]:
        """What people should know, each once; from any thread."""
        while self._news:
            yield self._news.popleft()

    def _keys(self, record: ChainRecord) -> Iterator[Key]:
        for segment in record.segments:
            yield segment, self._runtimes.names(self._bundle.path, record, segment)

    def _linked(
        self,
        record: ChainRecord,
        segment: Segment,
        failures: list[tuple[RuntimeName, ModelError]],
    ) -> Link:
        files = GraphFiles.of(self._bundle.path, segment)
        for runtime in self._runtimes.of(self._bundle.path, record, segment):
            try:
                return Link(segment, runtime.load(files, self._threads))
            except ModelError as error:
                failures.append((runtime.name, error))
        raise failures[-1][1]

    def _tell(
        self, record: ChainRecord, failures: Sequence[tuple[RuntimeName, ModelError]]
    ) -> None:
        if failures and record.id not in self._told:
            self._told.add(record.id)
            name, error = failures[0]
            self._news.append(
                f"chain {record.id!r}: {name} cannot load {len(failures)} of its "
                f"{len(record.segments)} segments, another runtime runs them: {error}"
            )

    def _file_bytes(self, segment: Segment, runtimes: Sequence[RuntimeName]) -> int:
        """In the form that the preferred one takes."""
        return sum(entry.size_bytes for entry in self._entries_of(segment, runtimes[:1]))

    def _entries_of(
        self, segment: Segment, runtimes: Collection[RuntimeName]
    ) -> Iterator[FileEntry]:
        names = []
        if "onnxruntime" in runtimes:
            names += [segment.file, f"{segment.file}.data"]  # its weights may lie beside it
        if segment.tflite is not None and any(name != "onnxruntime" for name in runtimes):
            names.append(segment.tflite.file)
        return (self._entries[name] for name in names if name in self._entries)

    def _check(self, record: ChainRecord, entry: FileEntry) -> None:
        way_out = "open the agent anew (a daemon: SIGHUP)"
        try:
            check_file(self._bundle.file(entry.path), entry, "the manifest", way_out)
        except BundleError as error:
            raise ModelError(
                f"chain {record.id!r} cannot be loaded: the bundle has changed since it was "
                f"opened: {error}"
            ) from error
