"""A front end in a cluster of Ray: which applications of Ray Serve it uses.

with open_cluster(settings, announce) as cluster:
    with cluster.applications(specs) as names: ...
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from isthmus import LinkError
from isthmus_cloud.replicas.applications import Applications
from isthmus_cloud.replicas.joining import joined, speak_as_the_service
from isthmus_cloud.replicas.leases import RENEW_S
from isthmus_cloud.replicas.naming import DEPLOYMENT
from isthmus_cloud.replicas.serve_line import ServeLine
from isthmus_cloud.replicas.serving import ANSWER_S, RayServing, asked
from isthmus_cloud.replicas.settings import LARGE_CALL_BYTES, RaySettings
from isthmus_cloud.replicas.spec import Spec

__all__ = ["Cluster", "cluster_joined"]

_logger = logging.getLogger(__name__)


@contextmanager
def cluster_joined(settings: RaySettings, announce: Callable[[str], None]) -> "Iterator[Cluster]":
    """A `Cluster` whose Ray is started or joined for it, and left after it; ConfigError where that
    cannot be done."""
    speak_as_the_service()
    with joined(settings, announce), Cluster(settings) as cluster:
        yield cluster


class Cluster:
    """As a context: within it Ray Serve runs, and this service is one of its front ends. This
    process has joined a Ray already.

    Raises LinkError where the cluster does not answer. Everything blocks: not on a loop.
    """

    def __init__(self, settings: RaySettings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        self._ended = threading.Event()
        self._applications: Applications | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            serving = RayServing(self.settings)
            applications = Applications(serving, self.settings, uuid.uuid4().hex, self._ended.wait)
            caring = threading.Thread(
                target=self._care, args=[applications], name="isthmus-leases", daemon=True
            )
            caring.start()
            stack.callback(caring.join, ANSWER_S)
            stack.callback(self._ended.set)
            self._applications = applications
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
        """See `Applications.used`."""
        if self._applications is None:
            raise LinkError("the cluster has not been joined")
        with self._applications.used(specs) as names:
            yield names

    def line(self, name: str, spec: Spec, large_bytes: float = LARGE_CALL_BYTES) -> ServeLine:
        """To the replicas of an application that is ready; see `ServeLine`. LinkError if the
        cluster does not answer."""
        is_shared = self.settings.models > 0
        with asked(f"where {name} is"):
            return ServeLine(name, DEPLOYMENT, spec, is_shared=is_shared, large_bytes=large_bytes)

    def _care(self, applications: Applications) -> None:
        """A cluster that does not answer is asked again; frames go on meanwhile."""
        while not self._ended.wait(RENEW_S):
            try:
                applications.look_after()
            except LinkError as error:
                _logger.warning("the applications of this front end: %s", error)
