"""A folder that pictures are put into. The kernel tells of them through watchdog; `arrivals.py`
says which are whole."""

import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from isthmus.picture_files import PICTURE_SUFFIXES
from isthmus.regular_files import irregular
from isthmus_edge.daemon.logs import Tell
from isthmus_edge.daemon.sections import DirectorySection
from isthmus_edge.daemon.sources.again import Again
from isthmus_edge.daemon.sources.arrivals import Arrivals, Version
from isthmus_edge.daemon.sources.item import Fate, Item, SourceLostError
from isthmus_edge.daemon.sources.optional import required

NO_SIZE = -1  # of what is no regular file
CHECK_S = 5.0  # how often to see whether the folder is still there, while nothing happens

__all__ = ["DirectorySource", "Happening", "Watch", "open_directory"]

# What (as watchdog calls it), and to which file; "gone" is for folders, "stop" ends it.
Happening = tuple[str, Path]
_Identity = tuple[int, int]  # device and inode of a folder


class Watch(Protocol):
    """Whoever tells of files."""

    def stop(self) -> None:
        """Tell no more."""
        ...


StartWatch = Callable[[Callable[[Happening], None]], Watch]


def open_directory(section: DirectorySection, name: str, tell: Tell) -> "DirectorySource":
    """The pictures put into a folder; ConfigError if watchdog is not installed."""
    purpose = f"the source {name!r}, a directory,"
    events = required("watchdog.events", "watchdog", purpose)
    observers = required(
        "watchdog.observers.polling" if section.polling else "watchdog.observers",
        "watchdog",
        purpose,
    )
    observer = observers.PollingObserver if section.polling else observers.Observer
    return DirectorySource(name, section, tell, _watching(events, observer, section.path))


def _watching(events: Any, observer: Any, folder: Path) -> StartWatch:
    def start(tell: Callable[[Happening], None]) -> Watch:
        class Handler(events.FileSystemEventHandler):  # type: ignore[misc]
            def on_any_event(self, event: Any) -> None:
                if event.is_directory:
                    if event.event_type == "deleted":
                        tell(("gone", Path(os.fsdecode(event.src_path))))
                elif event.event_type == "moved":
                    tell(("deleted", Path(os.fsdecode(event.src_path))))
                    tell(("renamed", Path(os.fsdecode(event.dest_path))))
                else:
                    tell((event.event_type, Path(os.fsdecode(event.src_path))))

        watch = observer()
        watch.schedule(Handler(), str(folder))
        watch.start()
        return _Started(watch)

    return start


class _Started:
    def __init__(self, observer: Any) -> None:
        self._observer = observer

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join()


class DirectorySource:
    """One folder, not those in it. Names that begin with a dot are somebody's unfinished business.

    A file that gets other content, or is put there again, is another picture. One whose answer no
    output took is given again (`again.py`). What is no regular file is told, and not opened.
    """

    kind = "directory"
    comes_back = True
    dropped = 0

    def __init__(
        self,
        name: str,
        section: DirectorySection,
        tell: Tell,
        watching: StartWatch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._section = section
        self._tell = tell
        self._watching = watching
        self._clock = clock
        self._happenings: queue.SimpleQueue[Happening] = queue.SimpleQueue()  # of one opening
        self._is_stopped = threading.Event()
        self._arrivals = Arrivals(section.settle_s)
        self._again = Again()
        self._skip_what_is_there()

    def items(self) -> Generator[Item | None]:
        """Each picture, when all of it is there."""
        self._happenings = queue.SimpleQueue()
        if self._is_stopped.is_set():  # or `stop` finds the new queue
            return
        folder = self._section.path
        identity = _identity(folder)
        if identity is None:
            raise SourceLostError(
                f"{folder}: no such folder that this user may see; make it, or mount what holds it"
            )
        try:
            watch = self._watching(self._happenings.put)
        except OSError as error:
            raise SourceLostError(
                f"{folder}: cannot be watched ({error.strerror or error}); see that this user may "
                "read it, or set polling = true"
            ) from error
        try:
            for path in self._pictures():
                self._arrivals.appeared(path, self._clock())
            yield None
            yield from self._as_they_come(identity)
        finally:
            watch.stop()

    def stop(self) -> None:
        """Give no further picture."""
        self._is_stopped.set()
        self._happenings.put(("stop", self._section.path))

    def _skip_what_is_there(self) -> None:
        """Now, not when the thread gets to it: what comes in between is new."""
        section = self._section
        wanted = section.when_done != "keep" if section.existing is None else section.existing
        if wanted:
            return
        with suppress(SourceLostError):  # `items` says it
            for path in self._pictures():
                if version := _version(path):
                    self._arrivals.skip(path, version)

    def _pictures(self) -> list[Path]:
        folder = self._section.path
        try:
            return sorted(path for path in folder.iterdir() if _is_picture(path))
        except OSError as error:
            raise SourceLostError(
                f"{folder}: cannot be listed ({error.strerror}); see that this user may read it"
            ) from error

    def _as_they_come(self, identity: _Identity) -> Iterator[Item]:
        while True:
            try:
                what, path = self._happenings.get(timeout=self._patience_s())
            except queue.Empty:
                what, path = "", self._section.path
            if what == "stop":
                return
            if _is_picture(path):
                self._note(what, path)
            folder = self._section.path
            if (what, path) == ("gone", folder) or _identity(folder) != identity:
                raise SourceLostError(f"{folder}: the folder is gone, or another one by now")
            yield from self._whole_ones()

    def _patience_s(self) -> float:
        """While files are pending, look after them in time."""
        is_idle = self._again.is_empty and not self._arrivals.pending
        return CHECK_S if is_idle else min(CHECK_S, self._section.settle_s)

    def _note(self, what: str, path: Path) -> None:
        now_s = self._clock()
        match what:
            case "created" | "modified":
                self._arrivals.appeared(path, now_s)
            case "opened":
                self._arrivals.opened(path)
            case "closed" | "closed_no_write":
                self._arrivals.closed(path, now_s, written=what == "closed")
            case "renamed":
                self._arrivals.renamed(path, now_s)
            case "deleted":
                self._arrivals.gone(path)
            case _:
                pass

    def _whole_ones(self) -> Iterator[Item]:
        for path, version in self._again.due(self._clock()):
            self._arrivals.again(path, version)
        for path in self._arrivals.pending:
            found = _version(path)
            if not self._arrivals.looked(path, found, self._clock()) or found is None:
                continue
            if found[1] == NO_SIZE:
                self._tell_irregular(path)
            else:
                settling = _Settling(self, path, found)
                yield Item(path.name, path, self._section.deadline_ms, settling)

    def _tell_irregular(self, path: Path) -> None:
        with suppress(OSError):  # gone meanwhile
            if (what := irregular(path.stat().st_mode)) is not None:
                reason = f"it is {what}"
                self._tell("file_ignored", 30, source=self._name, file=str(path), reason=reason)

    def settle(self, path: Path, version: Version, fate: Fate) -> None:
        """Move or delete what was answered; what has no answer that was written down stays.

        So does another version that came meanwhile: its turn is still to come. What has neither
        an answer nor an error that was written down is given again.
        """
        if fate == "unwritten":
            self._again.unwritten(path, version, self._clock())
            return
        self._again.written()
        section = self._section
        if not self._again.is_empty:
            self._happenings.put(("", section.path))
        target = {"answered": section.done, "unreadable": section.failed}.get(fate)
        try:
            if _version(path) != version:
                return
            if target is not None:
                target.mkdir(parents=True, exist_ok=True)
                path.rename(_free(target / path.name))
            elif fate == "answered" and section.when_done == "delete":
                path.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            self._tell("file_stays", 30, source=self._name, file=str(path), reason=reason)


class _Settling:
    """What is to be done with one file in the end."""

    __slots__ = ("_path", "_source", "_version")

    def __init__(self, source: DirectorySource, path: Path, version: Version) -> None:
        self._source = source
        self._path = path
        self._version = version

    def __call__(self, fate: Fate) -> None:
        self._source.settle(self._path, self._version, fate)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def _identity(folder: Path) -> _Identity | None:
    """Which folder it is: a path may get another one, made anew or mounted over it."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _version(path: Path) -> Version | None:
    try:
        found = path.stat()
    except OSError:
        return None
    if irregular(found.st_mode) is not None:  # its times say nothing of what it is
        return found.st_ino, NO_SIZE, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _free(path: Path) -> Path:
    """The path, or one like it that nothing has yet: no earlier picture is replaced."""
    if not path.exists():
        return path
    return next(
        free
        for number in range(1, 1_000_000)
        if not (free := path.with_stem(f"{path.stem}-{number}")).exists()
    )
