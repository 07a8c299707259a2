"""What is served: of each model the active version, and older ones as long as devices use them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.telemetry import Activated, Observer, Observers

RETIRE_S = 60.0  # an old version stays so long without a session: its devices may be on their way

__all__ = ["Deployments"]

_logger = logging.getLogger(__name__)


class Deployments:
    """By fingerprint and by name; used on the event loop.

    `moved` is called with a version that has become the active one, to be told to sessions of
    others. An old version is closed when no session has used it for `retire_s`.
    """

    def __init__(self, observer: Observer | None = None, retire_s: float = RETIRE_S) -> None:
        self._observer = observer or Observers()
        self._retire_s = retire_s
        self._by_fingerprint: dict[str, Deployment] = {}
        self._active: dict[str, Deployment] = {}
        self._users: Counter[Deployment] = Counter()
        self._retiring: dict[Deployment, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.moved: Callable[[Deployment], None] = lambda _: None

    @property
    def all(self) -> Sequence[Deployment]:
        """Whatever devices may use now, in order of loading."""
        return tuple(self._by_fingerprint.values())

    @property
    def active(self) -> Sequence[Deployment]:
        """Those that new devices get, one for each name."""
        return tuple(self._active.values())

    def of(self, fingerprint: str) -> Deployment | None:
        """The one whose bundle a device holds."""
        return self._by_fingerprint.get(fingerprint)

    def named(self, name: str) -> Deployment | None:
        """The active version of a model."""
        return self._active.get(name)

    def users(self, deployment: Deployment) -> int:
        """Sessions that use it."""
        return self._users[deployment]

    def activate(self, deployment: Deployment) -> None:
        """This is the version of its model for new devices from now on; the old one goes when its
        last session has gone."""
        previous = self._active.get(deployment.name)
        self._by_fingerprint[deployment.fingerprint] = deployment
        self._active[deployment.name] = deployment
        self._stay(deployment)
        self._observer.note(
            Activated(
                model=deployment.name,
                version=deployment.version,
                previous="" if previous is None else previous.version,
            )
        )
        if previous is not None and previous is not deployment:
            self._retire_if_unused(previous)
        self.moved(deployment)

    def take(self, deployment: Deployment) -> None:
        """One more session uses it."""
        self._users[deployment] += 1
        self._stay(deployment)

    def give_back(self, deployment: Deployment) -> None:
        """One session less."""
        self._users[deployment] -= 1
        self._retire_if_unused(deployment)

    async def close(self) -> None:
        """Let go of everything; no session is left."""
        for handle in self._retiring.values():
            handle.cancel()
        leaving = list(self._by_fingerprint.values())
        self._by_fingerprint.clear()
        self._active.clear()
        await asyncio.gather(*self._closing)
        for deployment in leaving:
            await asyncio.to_thread(deployment.close)

    def _stay(self, deployment: Deployment) -> None:
        handle = self._retiring.pop(deployment, None)
        if handle is not None:
            handle.cancel()

    def _retire_if_unused(self, deployment: Deployment) -> None:
        is_active = self._active.get(deployment.name) is deployment
        is_here = self._by_fingerprint.get(deployment.fingerprint) is deployment
        if is_active or not is_here or self._users[deployment]:
            return
        loop = asyncio.get_running_loop()
        self._stay(deployment)
        self._retiring[deployment] = loop.call_later(self._retire_s, self._retire, deployment)

    def _retire(self, deployment: Deployment) -> None:
        del self._retiring[deployment]
        del self._by_fingerprint[deployment.fingerprint]
        del self._users[deployment]
        _logger.info("%s %s is retired", deployment.name, deployment.version)
        task = asyncio.create_task(asyncio.to_thread(deployment.close))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
