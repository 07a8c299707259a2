"""The chains of a bundle in the device's memory: what is loaded, and what there is room for."""

from collections import deque
from collections.abc import Collection, Iterator
from itertools import count

from isthmus import Bundle, Cut, ModelError
from isthmus import Chain as ChainRecord
from isthmus_edge.device.chain import Chain
from isthmus_edge.device.links import Links
from isthmus_edge.runtimes import Runtimes

__all__ = ["Chains"]


class Chains:
    """The chains of a bundle; what several of them share is loaded once.

    At the start the *warm set* is loaded: the chain of `local`, which answers when all else fails,
    then those of the other candidates that the policy may choose, as long as they fit within
    `max_memory_bytes` and the system gives it. Candidates of chains that did not fit are
    `left_out`. A frame that is pinned to one of those has its chain loaded for it, in the place of
    those that were used least recently, if it fits beside the chain of `local`.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int,
        runtimes: Runtimes | None = None,
        max_memory_bytes: int | None = None,
    ) -> None:
        self._manifest = bundle.manifest
        self._most_bytes = max_memory_bytes
        self._links = Links(bundle, threads, runtimes or Runtimes())
        self._loaded: dict[str, Chain] = {}
        self._turn = count()
        self._used_at: dict[str, int] = {}  # by chain: the turn of its last use
        self._hopeless: set[str] = set()  # others went for them, in vain
        self._news: deque[str] = deque()
        self.left_out: dict[str, str] = {}
        self._warm_up()

    @property
    def memory_bytes(self) -> int:
        """What all that is loaded takes: see `Graph.memory_bytes`."""
        return self._links.memory_bytes

    def loaded(self, cut: Cut) -> Chain | None:
        """The chain of a cut, if it is loaded; from any thread."""
        self._used_at[cut.chain] = next(self._turn)
        return self._loaded.get(cut.chain)

    def of(self, cut: Cut) -> Chain:
        """The chain of a cut; ModelError if it has to be loaded and cannot be. One thread loads."""
        return self.loaded(cut) or self._make_room_for(self._manifest.chain_of(cut))

    def news(self) -> Iterator[str]:
        """What people should know of what was loaded, each once; from any thread."""
        while self._news:
            yield self._news.popleft()
        yield from self._links.news()

    def _warm_up(self) -> None:
        (local,) = self._records((self._local,))
        self._load(local)
        if not self._fits(local):
            self._news.append(
                f"chain {local.id!r} answers without a cloud, so it is loaded: it takes "
                f"{_megabytes(self.memory_bytes)} of the {self._most}"
            )
        for candidate in self._manifest.kept:
            record = self._manifest.chain_of(self._manifest.cut_of(candidate))
            if record.id in self._loaded or record.id in self.left_out:
                continue
            try:
                self._load_within(record)
            except ModelError as error:
                self.left_out[record.id] = f"chain {record.id!r} is not loaded: {error}"

    def _make_room_for(self, record: ChainRecord) -> Chain:
        """What has to go goes first: both might not fit. Nothing goes where that is in vain."""
        self._links.check(record)
        self._require_room(record, (self._local,))
        if record.id in self._hopeless:
            chain = self._load_within(record)
        else:
            self._hopeless.add(record.id)  # unless it is loaded
            chain = self._load_instead(record)
        self._hopeless.remove(record.id)
        return chain

    def _load_instead(self, record: ChainRecord) -> Chain:
        """In the place of those that were used least recently, and in the end of all others."""
        others = [name for name in self._loaded if name != self._local]
        stalest_first = sorted(others, key=lambda name: self._used_at.get(name, -1))
        for name in stalest_first:
            if not self._fits(record, self._loaded):
                self._drop(name)
        try:
            return self._load_within(record)
        except ModelError:
            remaining = [name for name in stalest_first if name in self._loaded]
            if not remaining:
                raise
        for name in remaining:  # the system may have had no memory for it
            self._drop(name)
        return self._load_within(record)

    def _load_within(self, record: ChainRecord) -> Chain:
        """Beside what is loaded; ModelError if there is no room for both, and it is not kept."""
        self._require_room(record, self._loaded)
        chain = self._load(record)
        if not self._fits(record, self._loaded):
            self._drop(record.id)
            self._require_room(record, self._loaded)  # what it takes is known now
        return chain

    def _load(self, record: ChainRecord) -> Chain:
        outputs = [spec.name for spec in self._manifest.outputs]
        chain = Chain(record, self._links.load(record), outputs)
        self._loaded[record.id] = chain
        return chain

    def _drop(self, name: str) -> None:
        del self._loaded[name]
        self._links.keep_only(self._records(self._loaded))

    def _require_room(self, record: ChainRecord, beside: Collection[str]) -> None:
        if not self._fits(record, beside):
            takes = _megabytes(self._links.bytes_of((record, *self._records(beside))))
            names = " and ".join((record.id, *beside))
            raise ModelError(f"{names} would take {takes} of the {self._most}")

    def _fits(self, record: ChainRecord, beside: Collection[str] = ()) -> bool:
        if self._most_bytes is None:
            return True
        return self._links.bytes_of((record, *self._records(beside))) <= self._most_bytes

    def _records(self, names: Collection[str]) -> list[ChainRecord]:
        return [chain for chain in self._manifest.chains if chain.id in names]

    @property
    def _local(self) -> str:
        return self._manifest.cut_of(self._manifest.local).chain

    @property
    def _most(self) -> str:
        return f"{_megabytes(self._most_bytes or 0)} allowed (max_memory_bytes, --max-memory)"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} KB"
