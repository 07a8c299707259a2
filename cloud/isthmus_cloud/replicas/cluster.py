"""A front end in a cluster of Ray: which applications of Ray Serve there are, and which it uses.

with open_cluster(settings, announce) as cluster:
    with cluster.applications(specs) as names: ...
"""

import logging
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import ray
from ray import serve

from isthmus import BundleError, ConfigError, IsthmusError, LinkError, ModelError
from isthmus_cloud.replicas.application import DEPLOYMENT, application, exported_name, name_of
from isthmus_cloud.replicas.joining import NAMESPACE, joined, speak_as_the_service
from isthmus_cloud.replicas.leases import RENEW_S, LeaseBook
from isthmus_cloud.replicas.serve_line import ServeLine
from isthmus_cloud.replicas.settings import LARGE_CALL_BYTES, RaySettings
from isthmus_cloud.replicas.spec import Spec

BOOK = "isthmus-leases"
READY_WITHIN_S = 600.0  # replicas may have to wait for a node that the cluster has to start
LOOK_S = 0.1
ANSWER_S = 10.0

__all__ = ["Cluster"]

_logger = logging.getLogger(__name__)
_ERRORS: Mapping[str, type[IsthmusError]] = {
    each.__name__: each for each in (BundleError, ConfigError, ModelError)
}
_ERROR_LINE = re.compile(rf"(?:[\w.]+\.)?({'|'.join(_ERRORS)}): (.+)")


class Cluster:
    """As a context: within it Ray Serve runs, and this service is one of its front ends.

    Raises ConfigError where the cluster cannot be joined. Everything blocks: not on a loop.
    """

    def __init__(self, settings: RaySettings, announce: Callable[[str], None]) -> None:
        self.settings = settings
        self._announce = announce
        self._stack = ExitStack()
        self._name = uuid.uuid4().hex
        self._book: Any = None
        self._uses: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            speak_as_the_service()
            stack.enter_context(joined(self.settings, self._announce))
            serve.start(proxy_location="Disabled")
            self._book = _lease_book()
            renewing = threading.Thread(target=self._renew, name="isthmus-leases", daemon=True)
            renewing.start()
            stack.callback(renewing.join, ANSWER_S)
            stack.callback(self._ended.set)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def applications(self, specs: Sequence[Spec]) -> Iterator[Sequence[str]]:
        """The names of applications whose replicas hold each of `specs`: such as run, or are made
        now.

        One that front ends have made goes when none uses it any more. Raises ModelError,
        BundleError or ConfigError where replicas cannot hold it, LinkError if the cluster does not
        say.
        """
        running = _statuses()
        names = [self._name_of(spec, running) for spec in specs]
        ours = [
            name for name, spec in zip(names, specs, strict=True) if name != exported_name(spec)
        ]
        self._use(ours)
        try:
            self._make({n: s for n, s in zip(names, specs, strict=True) if _is_to_make(n, running)})
            for name in names:
                self._await_ready(name)
            yield names
        finally:
            self._release(ours)

    def line(self, name: str, spec: Spec, large_bytes: float = LARGE_CALL_BYTES) -> ServeLine:
        """To the replicas of an application that is ready; see `ServeLine`."""
        is_shared = self.settings.models > 0
        return ServeLine(name, DEPLOYMENT, spec, is_shared=is_shared, large_bytes=large_bytes)

    def _name_of(self, spec: Spec, running: Mapping[str, Any]) -> str:
        exported = exported_name(spec)
        return exported if exported in running else name_of(self._held(spec), self.settings)

    def _held(self, spec: Spec) -> Spec | None:
        """What its replicas hold from their first moment."""
        return None if self.settings.models else spec

    def _make(self, missing: Mapping[str, Spec]) -> None:
        if missing:
            serve.run_many(
                [
                    serve.RunTarget(application(self._held(spec), self.settings), name, None)
                    for name, spec in missing.items()
                ],
                wait_for_ingress_deployment_creation=False,
                wait_for_applications_running=False,
            )

    def _use(self, names: Sequence[str]) -> None:
        with self._lock:
            self._uses.update(names)
        ray.get(self._book.renew.remote(self._name, names), timeout=ANSWER_S)

    def _release(self, names: Sequence[str]) -> None:
        with self._lock:
            self._uses.subtract(names)
            left = [name for name in dict.fromkeys(names) if not self._uses[name]]
            for name in left:
                del self._uses[name]
        if left:
            with _forgiven("releasing applications"):
                self._delete(ray.get(self._book.release.remote(self._name, left), timeout=ANSWER_S))

    def _renew(self) -> None:
        """Say that this front end lives, and delete what others have left behind."""
        while not self._ended.wait(RENEW_S):
            with self._lock:
                mine = list(self._uses)
            with _forgiven("renewing the leases of this front end"):
                ray.get(self._book.renew.remote(self._name, mine), timeout=ANSWER_S)
                self._delete(ray.get(self._book.unused.remote(), timeout=ANSWER_S))

    def _delete(self, names: list[str]) -> None:
        for name in names:
            _logger.info("%s is not used any more: its replicas end", name)
            serve.delete(name, _blocking=False)

    def _await_ready(self, name: str) -> None:
        until_s = time.monotonic() + READY_WITHIN_S
        while not self._ended.wait(LOOK_S):
            found = _statuses().get(name)
            if found is None or found.status in {"DEPLOY_FAILED", "DELETING"}:
                raise _why_not(name, found)
            if found.status == "RUNNING":
                return
            if time.monotonic() > until_s:
                raise LinkError(
                    f"{name}: no replica is ready after {READY_WITHIN_S:g} s; see whether the "
                    "cluster has the cores and GPUs that are asked for (`ray status`)"
                )
        raise LinkError(f"{name}: the service ends")


def _lease_book() -> Any:
    """The one of this cluster; made by whoever comes first."""
    kept = ray.remote(LeaseBook).options(
        name=BOOK,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        num_cpus=0,
    )
    return kept.remote()


def _is_to_make(name: str, running: Mapping[str, Any]) -> bool:
    found = running.get(name)
    return found is None or found.status in {"DELETING", "DEPLOY_FAILED"}


def _statuses() -> dict[str, Any]:
    """What Ray Serve says of each application."""
    return dict(serve.status().applications)


def _why_not(name: str, found: Any) -> IsthmusError:
    """What a replica failed with, taken out of Serve's account of it."""
    if found is None:
        return ModelError(f"{name} is being deleted; try again")
    parts = [found.message, *(each.message for each in found.deployments.values())]
    message = "\n".join(filter(None, parts))
    found = _ERROR_LINE.findall(message)
    if found:
        kind, text = found[-1]
        return _ERRORS[kind](text)
    return ModelError(f"{name} cannot be deployed: {message.strip() or 'Ray Serve says no more'}")


@contextmanager
def _forgiven(what: str) -> Iterator[None]:
    """A cluster that does not answer is asked again; frames go on meanwhile."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - Ray's errors have no class in common
        _logger.warning("%s failed: %s: %s", what, type(error).__name__, error)
