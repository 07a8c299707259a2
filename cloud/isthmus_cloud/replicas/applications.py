"""Which applications of Ray Serve a front end uses: they are found or made, kept, and let go.

No Ray here: what is asked of it is a `Serving`.
"""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from isthmus import BundleError, ConfigError, IsthmusError, LinkError, ModelError
from isthmus_cloud.replicas.naming import exported_name, is_made, made_name
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import Spec

READY_WITHIN_S = 600.0  # replicas may have to wait for a node that the cluster has to start
SAID_S = 30.0  # between two lines of the log on replicas that do not come
LOOK_S = 0.1
GONE, FAILED, RUNNING = "DELETING", "DEPLOY_FAILED", "RUNNING"  # as Ray Serve says it

__all__ = ["Applications", "Serving"]

_logger = logging.getLogger(__name__)
_ERRORS: Mapping[str, type[IsthmusError]] = {
    each.__name__: each for each in (BundleError, ConfigError, ModelError)
}
_LACKING = "see whether the cluster has the cores and GPUs that are asked for (`ray status`)"
_ERROR_LINE = re.compile(rf"(?:[\w.]+\.)?({'|'.join(_ERRORS)}): (.+)")


class Serving(Protocol):
    """Ray Serve and the lease book of a cluster. LinkError if it does not answer."""

    def statuses(self) -> Mapping[str, Any]:
        """What Serve says of each application (`ApplicationStatusOverview`)."""

    def make(self, specs: Mapping[str, Spec | None], versions: Mapping[str, str]) -> None:
        """Deploy these by name; one that is there in this version keeps its replicas."""

    def delete(self, names: Sequence[str]) -> None:
        """They end, when their calls have; Serve knows when this returns."""

    def renew(self, front_end: str, names: Sequence[str]) -> None:
        """See `leases.LeaseBook`."""

    def release(self, front_end: str, names: Sequence[str]) -> None:
        """See `leases.LeaseBook`."""

    def unused(self, names: Sequence[str]) -> Sequence[str]:
        """See `leases.LeaseBook`."""


class Applications:
    """Those of one front end, which is known by `front_end`.

    `pause(s)` waits, and says whether the front end ends. Its methods may be called on any thread.
    """

    def __init__(
        self,
        serving: Serving,
        settings: RaySettings,
        front_end: str,
        pause: Callable[[float], bool],
    ) -> None:
        self._serving = serving
        self._settings = settings
        self._front_end = front_end
        self._pause = pause
        self._uses: Counter[str] = Counter()
        self._held: dict[str, Spec | None] = {}  # by those that it uses
        self._lock = threading.Lock()  # what is written down here and in the book is one

    @contextmanager
    def used(self, specs: Sequence[Spec]) -> Iterator[Sequence[str]]:
        """The names of applications whose replicas hold each of `specs`: such as run, or are made
        now, and are made again if they go meanwhile.

        Raises ModelError, BundleError or ConfigError where replicas cannot hold it, LinkError if
        the cluster does not answer.
        """
        statuses = self._serving.statuses()
        names = [self._name_of(spec, statuses) for spec in specs]
        held = {
            name: None if self._settings.models else spec
            for name, spec in zip(names, specs, strict=True)
            if is_made(name)
        }
        try:
            self._use(held)
            for name in names:
                self._await_ready(name)
            yield names
        finally:
            self._release(held)

    def look_after(self) -> None:
        """Say that this front end lives, make again what it uses and is gone, and delete what
        nobody uses. To be done every `leases.RENEW_S`."""
        with self._lock:
            self._serving.renew(self._front_end, list(self._held))
            self._make(self._held, {GONE})
            self._sweep()

    def _name_of(self, spec: Spec, statuses: Mapping[str, Any]) -> str:
        exported = exported_name(spec)
        if _state(statuses, exported) != GONE:
            return exported
        return made_name(None if self._settings.models else spec, self._settings)

    def _use(self, held: Mapping[str, Spec | None]) -> None:
        """First the lease, then the look: what is found then is not deleted any more."""
        with self._lock:
            self._uses.update(list(held))
            self._held |= held
            self._serving.renew(self._front_end, list(held))
            self._make(held, {GONE, FAILED})

    def _release(self, held: Mapping[str, Spec | None]) -> None:
        with self._lock:
            self._uses.subtract(list(held))
            left = [name for name in held if not self._uses[name]]
            for name in left:
                del self._uses[name], self._held[name]
            if left:
                try:
                    self._serving.release(self._front_end, left)
                    self._sweep()
                except LinkError as error:
                    _logger.warning("%s are not released yet: %s", ", ".join(left), error)

    def _make(self, held: Mapping[str, Spec | None], when: set[str]) -> None:
        """Of two front ends that find the same both make the same, which Serve does once."""
        statuses = self._serving.statuses() if held else {}
        missing = {name: spec for name, spec in held.items() if _state(statuses, name) in when}
        if missing:
            versions = {name: _version(statuses, name) for name in missing}
            self._serving.make(missing, versions)

    def _sweep(self) -> None:
        statuses = self._serving.statuses()
        there = [name for name in statuses if is_made(name) and _state(statuses, name) != GONE]
        unused = self._serving.unused(there)
        if unused:
            _logger.info("%s: not used any more, the replicas end", ", ".join(unused))
            self._serving.delete(unused)

    def _await_ready(self, name: str) -> None:
        """One that goes is made again by `look_after`, if front ends make it at all."""
        began_s = said_s = time.monotonic()
        while not self._pause(LOOK_S):
            statuses = self._serving.statuses()
            state = _state(statuses, name)
            if state == RUNNING:
                return
            if state == FAILED or (state == GONE and not is_made(name)):
                raise _why_not(name, statuses.get(name))
            now_s = time.monotonic()
            if now_s - began_s > READY_WITHIN_S:
                raise LinkError(
                    f"{name}: no replica is ready after {READY_WITHIN_S:g} s; {_LACKING}"
                )
            if now_s - said_s > SAID_S:
                said_s = now_s
                _logger.warning("%s: %s", name, _waited_for(statuses.get(name), now_s - began_s))
        raise LinkError(f"{name}: the service ends")


def _state(statuses: Mapping[str, Any], name: str) -> str:
    return str(statuses[name].status.value) if name in statuses else GONE


def _version(statuses: Mapping[str, Any], name: str) -> str:
    """Of what is to be deployed: the same for all that find the same. One that has failed is tried
    anew, for which it needs another version."""
    if _state(statuses, name) == FAILED:
        return f"after {statuses[name].last_deployed_time_s}"
    return "1"


def _why_not(name: str, found: Any) -> IsthmusError:
    """What a replica failed with, taken out of Serve's account of it."""
    if found is None or found.status.value == GONE:
        return ModelError(f"{name} is being deleted; deploy it anew, or try again when it is gone")
    message = _said(found)
    errors = _ERROR_LINE.findall(message)
    if errors:
        kind, text = errors[-1]
        return _ERRORS[kind](text)
    return ModelError(f"{name} cannot be deployed: {message or 'Ray Serve says no more'}")


def _waited_for(found: Any, since_s: float) -> str:
    told = "" if found is None else " ".join(_said(found).split())
    return f"its replicas are not ready after {since_s:.0f} s; {told or _LACKING}"


def _said(found: Any) -> str:
    """By Serve, of an application and its deployments."""
    parts = [found.message, *(each.message for each in found.deployments.values())]
    return "\n".join(filter(None, parts)).strip()
