"""The chains of a bundle in the device's memory: what is loaded, and what there is room for."""

import gc
import logging
from collections.abc import Sequence
from itertools import count

from isthmus import Bundle, Cut, ModelError, Segment
from isthmus import Chain as ChainRecord
from isthmus_edge.device.chain import Chain, Link
from isthmus_edge.runtimes import GraphFiles, Runtime, Runtimes

__all__ = ["Chains"]

log = logging.getLogger("isthmus.edge")


class Chains:
    """The chains of a bundle; what several of them share is loaded once.

    At the start the *warm set* is loaded: the chain of `local`, which answers when all else fails,
    then those of the other candidates that the policy may choose, as long as they fit within
    `max_memory_bytes` and the system gives it. Candidates of chains that did not fit are
    `left_out`. A frame that is pinned to one of those has its chain loaded for it, in the place of
    the one that was used least recently.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int,
        runtimes: Runtimes | None = None,
        max_memory_bytes: int | None = None,
    ) -> None:
        self._bundle = bundle
        self._threads = threads
        self._runtimes = runtimes or Runtimes()
        self._most_bytes = max_memory_bytes
        self._loaded: dict[str, Chain] = {}
        self._turn = count()
        self._used_at: dict[str, int] = {}  # by chain: the turn of its last use
        self._links: dict[Segment, Link] = {}
        self.left_out: dict[str, str] = {}
        self._warm_up()

    @property
    def memory_bytes(self) -> int:
        """What all that is loaded takes: see `Graph.memory_bytes`."""
        return sum(link.graph.memory_bytes for link in tuple(self._links.values()))

    def loaded(self, cut: Cut) -> Chain | None:
        """The chain of a cut, if it is loaded; from any thread."""
        self._used_at[cut.chain] = next(self._turn)
        return self._loaded.get(cut.chain)

    def of(self, cut: Cut) -> Chain:
        """The chain of a cut; ModelError if it has to be loaded and cannot be. One thread loads."""
        return self.loaded(cut) or self._make_room_for(self._bundle.manifest.chain_of(cut))

    def _warm_up(self) -> None:
        manifest = self._bundle.manifest
        self._load(manifest.chain_of(manifest.cut_of(manifest.local)))
        for candidate in manifest.kept:
            record = manifest.chain_of(manifest.cut_of(candidate))
            if record.id in self._loaded or record.id in self.left_out:
                continue
            try:
                self._load(record)
            except ModelError as error:
                self._leave_out(record, str(error))
                continue
            if self._is_too_much():
                self._drop(record.id)
                self._leave_out(record, f"does not fit into {_megabytes(self._most_bytes)}")

    def _leave_out(self, record: ChainRecord, reason: str) -> None:
        self.left_out[record.id] = f"chain {record.id!r} is not loaded: {reason}"

    def _make_room_for(self, record: ChainRecord) -> Chain:
        """What has to go goes first: both might not fit."""
        manifest = self._bundle.manifest
        local = manifest.cut_of(manifest.local).chain
        others = [name for name in self._loaded if name != local]
        stalest_first = sorted(others, key=lambda name: self._used_at.get(name, -1))
        if self._most_bytes is not None:
            for name in stalest_first:
                if self.memory_bytes + self._file_bytes(record) > self._most_bytes:
                    self._drop(name)
        try:
            return self._load(record)
        except ModelError:
            remaining = [name for name in stalest_first if name in self._loaded]
            if not remaining:
                raise
            for name in remaining:  # the system may have had no memory for it
                self._drop(name)
            return self._load(record)

    def _file_bytes(self, record: ChainRecord) -> int:
        """What a chain takes at least: its segments, and the weights that lie beside them."""
        segments = tuple(segment.file for segment in record.segments)
        files = self._bundle.manifest.files
        return sum(entry.size_bytes for entry in files if entry.path.startswith(segments))

    def _load(self, record: ChainRecord) -> Chain:
        """All segments or none."""
        links = {}
        for segment in record.segments:
            runtimes = self._runtimes.of(self._bundle.path, record, segment)
            links[segment] = self._links.get(segment) or self._linked(segment, runtimes)
        self._links |= links
        outputs = [spec.name for spec in self._bundle.manifest.outputs]
        chain = Chain(record, [links[segment] for segment in record.segments], outputs)
        self._loaded[record.id] = chain
        return chain

    def _linked(self, segment: Segment, runtimes: Sequence[Runtime]) -> Link:
        """By the first runtime that can load it."""
        files = GraphFiles.of(self._bundle.path, segment)
        *others, last = runtimes
        for runtime in others:
            try:
                return Link(segment, runtime.load(files, self._threads))
            except ModelError as error:
                log.warning("%s; the next runtime is tried", error)
        return Link(segment, last.load(files, self._threads))

    def _drop(self, name: str) -> None:
        del self._loaded[name]
        chains = self._bundle.manifest.chains
        used = {s for chain in chains if chain.id in self._loaded for s in chain.segments}
        self._links = {segment: link for segment, link in self._links.items() if segment in used}
        gc.collect()  # the sessions' memory goes back now

    def _is_too_much(self) -> bool:
        return self._most_bytes is not None and self.memory_bytes > self._most_bytes


def _megabytes(count: int | None) -> str:
    return f"{(count or 0) / 1e6:.0f} MB"
