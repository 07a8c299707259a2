"""Where a device keeps the bundles that it fetched: a folder for each model.

    ROOT/MODEL/FINGERPRINT/            a bundle's device half, as a whole and verified
    ROOT/MODEL/.shelf.json             which of them have proved themselves, the last one first
    ROOT/MODEL/.incoming/FINGERPRINT/  one that is not complete
    ROOT/MODEL/.trash/                 what goes, for the moment that it takes
    ROOT/MODEL/.lock                   whoever fetches has it, over all processes

Everything that others see comes about by one rename of what was synced before, so a device that
loses its power at any moment finds the last good bundle again.
"""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isthmus import BundleError, open_bundle
from isthmus.bundle_names import check_name, is_fingerprint
from isthmus.durable_files import held_lock, locked, sync_folder
from isthmus.manifest import MANIFEST_NAME
from isthmus.signing import read_signature
from isthmus_edge.bundles.arriving import Arriving
from isthmus_edge.bundles.errors import ShelfBusyError, ShelfFullError, explained
from isthmus_edge.bundles.offer import Half, Verifier
from isthmus_edge.bundles.state import Newcomer, ShelfState, read_state, write_state

KEEP = 2  # good ones: the last, and the one before it
REFUSED_S = 3600.0  # so long a bundle that cannot be used is not tried again

_INCOMING, _TRASH, _LOCK, _STATE_LOCK = ".incoming", ".trash", ".lock", ".shelf.lock"

log = logging.getLogger("isthmus.edge")

__all__ = ["KEEP", "REFUSED_S", "Kept", "Shelf"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle on the shelf that was just found whole."""

    path: Path
    fingerprint: str


class Shelf:
    """The bundles of one model; any number of threads and processes may use it at once.

    Every method blocks for as long as the disk does, and raises a ShelfError where that fails. With
    `verify` a bundle without a right signature is not used, also if it was here before.
    """

    def __init__(
        self,
        root: Path,
        model: str,
        verify: Verifier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_name("model name", model)
        self.folder = root.absolute() / model
        self._title = f"{self.folder}"
        self._verify = verify
        self._clock = clock

    def last_good(self) -> Kept | None:
        """The last one that has proved itself and is still whole; None if there is none.

        One that is damaged is told in the log, and the one before it has its turn.
        """
        for fingerprint in read_state(self.folder).good:
            try:
                return self._checked(fingerprint)
            except BundleError as error:
                log.warning("%s; the bundle before it has its turn", error)
        return None

    def waiting(self) -> Kept | None:
        """The newcomer, while nothing speaks against it and it is whole."""
        newcomer = read_state(self.folder).newcomer
        if newcomer is None or newcomer.refusal:
            return None
        return self.whole(newcomer.fingerprint)

    def whole(self, fingerprint: str) -> Kept | None:
        """A bundle that is here and may be used; None if it has to be fetched."""
        try:
            return self._checked(fingerprint)
        except BundleError:
            return None

    def refusal(self, fingerprint: str) -> str:
        """Why this bundle is not to be tried now; "" if it may be."""
        newcomer = read_state(self.folder).newcomer
        if newcomer is None or newcomer.fingerprint != fingerprint:
            return ""
        is_recent = abs(self._clock() - newcomer.at_s) < REFUSED_S  # a clock may be set back
        return newcomer.refusal if is_recent else ""

    def welcome(self, fingerprint: str) -> None:
        """This one is here and has its turn next."""
        self._change(lambda state: _newcome(state, Newcomer(fingerprint=fingerprint)))

    def refuse(self, fingerprint: str, reason: str) -> None:
        """It is not tried for an hour, whatever happens to this process meanwhile."""
        refused = Newcomer(fingerprint=fingerprint, refusal=reason or "?", at_s=self._clock())
        self._change(lambda state: _newcome(state, refused))

    def forgive(self) -> None:
        """What was refused may be tried again at once."""
        newcomer = read_state(self.folder).newcomer
        if newcomer is not None and newcomer.refusal:
            self.welcome(newcomer.fingerprint)

    def settle(self, fingerprint: str) -> None:
        """It has proved itself: it is the last good one. What nobody goes back to is removed."""

        def settled(state: ShelfState) -> ShelfState:
            before = [each for each in state.good if each != fingerprint]
            newcomer = state.newcomer
            if newcomer is not None and newcomer.fingerprint == fingerprint:
                newcomer = None
            return ShelfState(good=(fingerprint, *before)[:KEEP], newcomer=newcomer)

        self._change(settled)
        self._prune()

    @contextmanager
    def arriving(self, half: Half) -> Iterator[Arriving]:
        """The folder for a bundle that comes, with what has come of it before; nobody else has it.

        Other bundles that are not complete go: at most one takes room. A disk that is full keeps
        nothing of this one either. ShelfBusyError if somebody else fetches to this shelf.
        """
        with explained(self._title):
            incoming = self.folder / _INCOMING
            incoming.mkdir(parents=True, exist_ok=True)
            lock = held_lock(self.folder / _LOCK)
        if lock is None:
            raise ShelfBusyError(
                f"{self.folder}: somebody else fetches to this folder; try again later"
            )
        try:
            with explained(self._title):
                for each in incoming.iterdir():
                    if each.name != half.fingerprint:
                        self._throw_away(each)
                arriving = Arriving(incoming / half.fingerprint, half)
                arriving.prepare()
                yield arriving
        except ShelfFullError:
            with explained(self._title):
                self._throw_away(incoming / half.fingerprint)
            raise
        finally:
            os.close(lock)

    def put_in(self, arriving: Arriving, fingerprint: str) -> Kept:
        """Give a bundle whose files are all right its place."""
        place = self.folder / fingerprint
        with explained(self._title):
            self._throw_away(place)  # it was damaged, or it would not have been fetched
            arriving.publish(place)
        return self._checked(fingerprint)

    def _checked(self, fingerprint: str) -> Kept:
        """BundleError unless it is here, whole, and signed by whom it must be."""
        path = self.folder / fingerprint
        bundle = open_bundle(path, "device")
        if bundle.fingerprint != fingerprint:
            raise BundleError(f"{path}: holds another bundle, {bundle.fingerprint[:12]}; remove it")
        if self._verify is not None:
            with explained(self._title):
                manifest = (path / MANIFEST_NAME).read_bytes()
            self._verify.verify(manifest, read_signature(path), str(path))
        return Kept(path, fingerprint)

    def _change(self, change: Callable[[ShelfState], ShelfState]) -> None:
        with explained(self._title):
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / _STATE_LOCK):
                write_state(self.folder, change(read_state(self.folder)))

    def _prune(self) -> None:
        """Remove bundles that are neither good nor the newcomer, which shall not come twice."""
        with explained(self._title), locked(self.folder / _STATE_LOCK):
            state = read_state(self.folder)
            wanted = {
                *state.good,
                *([] if state.newcomer is None else [state.newcomer.fingerprint]),
            }
            for each in self.folder.iterdir():
                if is_fingerprint(each.name) and each.name not in wanted:
                    self._throw_away(each)

    def _throw_away(self, folder: Path) -> None:
        """Out of sight in one step, then file by file; nothing if it is not there."""
        trash = self.folder / _TRASH
        trash.mkdir(exist_ok=True)
        hidden = trash / secrets.token_hex(8)
        try:
            folder.rename(hidden)
        except FileNotFoundError:
            return
        sync_folder(folder.parent)
        for each in trash.iterdir():  # and what a crash has left
            shutil.rmtree(each, ignore_errors=True)


def _newcome(state: ShelfState, newcomer: Newcomer) -> ShelfState:
    """It has to prove itself (anew), so it is none of the good ones."""
    good = tuple(each for each in state.good if each != newcomer.fingerprint)
    return ShelfState(good=good, newcomer=newcomer)
