"""A bundle's way from a service to a device's shelf: resumable, verified, and never half there.

    look -> the service says which version is current -> checked: signature, manifest, sizes
         -> on the shelf already: done
         -> else file by file, each from what is here on -> sha256 -> all whole -> one rename

A link that breaks is tried again with a back-off, behind what has come; one that moves nothing for
several attempts ends the fetch with a LinkError, and the next fetch goes on there.
"""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from isthmus import FileEntry, IsthmusError, LinkError, PeerError
from isthmus_edge.bundles.arriving import Arriving, Growing
from isthmus_edge.bundles.offer import Half, Offer
from isthmus_edge.bundles.service import Bundles, BundleService
from isthmus_edge.bundles.shelf import Kept, Shelf
from isthmus_edge.bundles.source import Source

BACKOFF_S = (1.0, 60.0)
ATTEMPTS = 5
LONGEST_REST_S = 1.0
HEAR_S = 0.2  # a signal that comes just before Python waits for a lock is heard after that wait

Dial = Callable[[str], Bundles]
Progress = Callable[[float, str], None]  # the share (0-1) that is here, and what is coming

Answer = TypeVar("Answer")

__all__ = ["BackOff", "Fetched", "Fetcher", "Manner", "Progress", "fetch", "kept"]


class BackOff:
    """Waits that double, with jitter, so that many devices do not come back in step."""

    def __init__(self) -> None:
        self._failures = 0

    def next_s(self) -> float:
        """How long to wait after one more failure."""
        least_s, most_s = BACKOFF_S
        longest_s = min(least_s * 2.0 ** min(self._failures, 16), most_s)
        self._failures += 1
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def reset(self) -> None:
        """Something has worked."""
        self._failures = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a fetch goes about it. `attempts` in a row may bring nothing.

    With `rests` it pauses as long as each piece took: frames of this device go over the same link.
    """

    attempts: int = ATTEMPTS
    rests: bool = False
    progress: Progress = lambda _share, _what: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A bundle that is whole, on this device; `received_bytes` of it came just now."""

    name: str
    version: str
    fingerprint: str
    path: Path
    received_bytes: int


class Fetcher:
    """Fetches from one source to one shelf; a context. One call at a time, `end` at any time.

    `received_bytes` counts what came of files, in all calls.
    """

    def __init__(
        self, source: Source, shelf: Shelf, manner: Manner | None = None, dial: Dial | None = None
    ) -> None:
        self._source = source
        self._shelf = shelf
        self._manner = manner or Manner()
        self._verify = source.verifier()
        self._dial = dial or partial(BundleService, credentials=source.credentials)
        self._stop = threading.Event()
        self._service: Bundles | None = None
        self._turn = 0  # of the targets
        self.received_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._hang_up()

    def end(self) -> None:
        """Whoever fetches gets a LinkError, soon; from any thread. What has come stays."""
        self._stop.set()
        service = self._service
        if service is not None:
            service.close()

    def look(self, held: str = "") -> Offer:
        """The current version; `held` is the fingerprint of what is here."""
        return self._asked(lambda service: service.current(self._source.model, held))

    def bring(self, offer: Offer) -> Fetched:
        """Have it on the shelf, as a whole; what is there already does not come again.

        BundleError for what may not be used, ShelfError where the disk fails, LinkError where the
        link does and PeerError where the service refuses.
        """
        before = self.received_bytes
        place = self._shelf.whole(offer.fingerprint) or self._brought(offer.half(self._verify))
        return Fetched(
            name=offer.name,
            version=offer.version,
            fingerprint=offer.fingerprint,
            path=place.path,
            received_bytes=self.received_bytes - before,
        )

    def _brought(self, half: Half) -> Kept:
        with self._shelf.arriving(half) as arriving:
            tally = _Tally(half, arriving.have_bytes, self._manner.progress)
            for entry in half.entries:
                tally.path = entry.path
                with arriving.growing(entry) as file:
                    self._bring_file(half, entry, file, tally)
            return self._publish(arriving, half)

    def _publish(self, arriving: Arriving, half: Half) -> Kept:
        return self._shelf.put_in(arriving, half.fingerprint)

    def _bring_file(self, half: Half, entry: FileEntry, file: Growing, tally: "_Tally") -> None:
        self._fill(half, entry, file, tally)
        if not file.is_right and file.came_before:  # the beginning may have suffered here
            tally.have_bytes -= file.have_bytes
            file.begin_anew()
            self._fill(half, entry, file, tally)
        file.finish()

    def _fill(self, half: Half, entry: FileEntry, file: Growing, tally: "_Tally") -> None:
        """Until nothing lacks; a break is gone on behind."""
        back_off, vain = BackOff(), 0
        pour = partial(self._pour, half, entry, file, tally)
        while file.lacks_bytes:
            before = file.have_bytes
            try:
                self._asked(pour)
            except LinkError:
                if file.have_bytes > before:
                    back_off.reset()
                    vain = 0
                vain += 1
                if vain >= self._manner.attempts or self._stop.wait(back_off.next_s()):
                    raise

    def _pour(
        self, half: Half, entry: FileEntry, file: Growing, tally: "_Tally", service: Bundles
    ) -> None:
        began_s = time.monotonic()
        for data in service.pieces(half.fingerprint, entry.path, file.have_bytes):
            file.add(data)
            self.received_bytes += len(data)
            tally.add(len(data))
            self._rest(time.monotonic() - began_s)
            began_s = time.monotonic()
        if file.lacks_bytes:
            raise LinkError(
                f"{entry.path}: the service ended it {file.lacks_bytes} bytes too early"
            )

    def _rest(self, took_s: float) -> None:
        rest_s = min(took_s, LONGEST_REST_S) if self._manner.rests else 0.0
        if self._stop.wait(rest_s):
            raise LinkError("the fetch was ended; the next one goes on there")

    def _asked(self, question: Callable[[Bundles], Answer]) -> Answer:
        """The answer of the first target that gives one, beginning with the one that did last."""
        problems: list[IsthmusError] = []
        for _ in self._source.targets:
            try:
                return question(self._connected())
            except (LinkError, PeerError) as error:
                problems.append(error)
                self._hang_up()
                self._turn += 1
        raise next((each for each in problems if isinstance(each, LinkError)), problems[0])

    def _connected(self) -> Bundles:
        if self._service is None:
            targets = self._source.targets
            self._service = self._dial(str(targets[self._turn % len(targets)]))
        if self._stop.is_set():
            raise LinkError("the fetch was ended; the next one goes on there")
        return self._service

    def _hang_up(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            service.close()


@dataclass(slots=True)
class _Tally:
    """How much of the whole is here."""

    half: Half
    have_bytes: int
    progress: Progress
    path: str = ""

    def add(self, count_bytes: int) -> None:
        self.have_bytes += count_bytes
        self.progress(min(self.have_bytes / max(self.half.size_bytes, 1), 1.0), self.path)


def fetch(source: Source, into: Path | str, manner: Manner | None = None) -> Fetched:
    """Bring the current version of a model into a folder, as ``INTO/MODEL/FINGERPRINT``.

    It waits until the bundle is whole and verified; from then on it is the last good one there (see
    `kept`), and the one before it stays, too. What is there already does not come again, and what a
    fetch that broke off has left is gone on with. Raises LinkError while the service cannot be
    reached, PeerError where it refuses, BundleError for a bundle that may not be used, ShelfError
    where the disk fails.
    """
    shelf = Shelf(Path(into), source.model, source.verifier())
    last = shelf.last_good()
    held = "" if last is None else last.fingerprint
    with Fetcher(source, shelf, manner) as fetcher:
        fetched = _interruptible(fetcher, lambda: fetcher.bring(fetcher.look(held)))
    shelf.settle(fetched.fingerprint)
    return fetched


def _interruptible(fetcher: Fetcher, work: Callable[[], Answer]) -> Answer:
    """What `work` gives, on a thread that no Ctrl-C meets: gRPC's channels can hang after one."""
    answer: Future[Answer] = Future()

    def do() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            answer.set_exception(error)

    thread = threading.Thread(target=do, name="isthmus-fetch", daemon=True)
    thread.start()
    try:
        while not wait([answer], HEAR_S).done:
            pass
        return answer.result()
    finally:
        fetcher.end()
        thread.join()


def kept(source: Source, into: Path | str) -> Path | None:
    """The last good bundle in that folder, compared with its manifest; None if there is none."""
    last = Shelf(Path(into), source.model, source.verifier()).last_good()
    return None if last is None else last.path
