"""What is served: of each model the active version, and older ones as long as devices use them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from isthmus_cloud.deployments.deployment import Deployment
from isthmus_cloud.security.asked import ASKED_BY
from isthmus_cloud.telemetry import Activated, Observer, Observers, Retired, Unloaded

RETIRE_S = 60.0  # an old version stays so long without a session: its devices may be on their way

WHOLE_MODEL = "oip"  # stands for the candidate where a plain request asks for the whole model

__all__ = ["WHOLE_MODEL", "Deployments"]


class Deployments:
    """By fingerprint and by name; used on the event loop.

    `moved` is called with a version that has become the active one, to be told to sessions of
    others, `changed` whenever the active ones are others than before. An old version is closed
    when no session has used it for `retire_s`.
    """

    def __init__(self, observer: Observer | None = None, retire_s: float = RETIRE_S) -> None:
        self._observer = observer or Observers()
        self._retire_s = retire_s
        self._all: list[Deployment] = []  # in order of activation
        self._active: dict[str, Deployment] = {}
        self._users: Counter[Deployment] = Counter()
        self._retiring: dict[Deployment, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.moved: Callable[[Deployment], None] = lambda _: None
        self.changed: Callable[[], None] = lambda: None

    @property
    def observer(self) -> Observer:
        """Who hears of what happens here."""
        return self._observer

    @property
    def all(self) -> Sequence[Deployment]:
        """Whatever devices may use now."""
        return tuple(self._all)

    @property
    def active(self) -> Sequence[Deployment]:
        """Those that new devices get, one for each name."""
        return tuple(self._active.values())

    def of(self, fingerprint: str) -> Deployment | None:
        """The one whose bundle a device holds, of a model that devices may have; an active one, if
        there are several."""
        for deployment in (*self._active.values(), *reversed(self._all)):
            if deployment.fingerprint == fingerprint and deployment.name in self._active:
                return deployment
        return None

    def named(self, name: str) -> Deployment | None:
        """The active version of a model."""
        return self._active.get(name)

    def holds(self, deployment: Deployment) -> bool:
        """Whether devices may use it."""
        return deployment in self._all

    @property
    def replicas(self) -> int:
        """That run tails of these elsewhere, as far as they are known."""
        elsewhere = frozenset().union(*(each.answerer.elsewhere for each in self._all))
        return sum(each.replicas for each in elsewhere)

    def users(self, deployment: Deployment) -> int:
        """Sessions that use it."""
        return self._users[deployment]

    def activate(self, deployment: Deployment) -> None:
        """This is the version of its model for new devices from now on; the old one goes when its
        last session has gone."""
        previous = self._active.get(deployment.name)
        self._active[deployment.name] = deployment
        if deployment not in self._all:
            self._all.append(deployment)
        self._stay(deployment)
        self._observer.note(
            Activated(
                model=deployment.name,
                version=deployment.version,
                previous="" if previous is None else previous.version,
                candidates=_counted(deployment),
                identity=ASKED_BY.get(),
            )
        )
        if previous is not None:
            self._retire_if_unused(previous)
        self.moved(deployment)
        self.changed()

    def deactivate(self, name: str) -> None:
        """No new device gets this model any more; those that use it stay."""
        deployment = self._active.pop(name, None)
        if deployment is not None:
            unloaded = Unloaded(model=name, version=deployment.version, identity=ASKED_BY.get())
            self._observer.note(unloaded)
            self._retire_if_unused(deployment)
            self.changed()

    def take(self, deployment: Deployment) -> None:
        """One more session uses it."""
        self._users[deployment] += 1
        self._stay(deployment)

    def give_back(self, deployment: Deployment) -> None:
        """One session less."""
        self._users[deployment] -= 1
        if not self._users[deployment]:
            del self._users[deployment]  # or a version that never served would be held here
            self._retire_if_unused(deployment)

    async def close(self) -> None:
        """Let go of everything; no session is left."""
        for handle in self._retiring.values():
            handle.cancel()
        leaving, self._all = self._all, []
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
        if is_active or self._users[deployment] or deployment not in self._all:
            return
        loop = asyncio.get_running_loop()
        self._stay(deployment)
        self._retiring[deployment] = loop.call_later(self._retire_s, self._retire, deployment)

    def _retire(self, deployment: Deployment) -> None:
        del self._retiring[deployment]
        self._all.remove(deployment)
        key = (deployment.name, deployment.version)
        if key not in {(each.name, each.version) for each in self._all}:
            self._observer.note(Retired(model=deployment.name, version=deployment.version))
        task = asyncio.create_task(asyncio.to_thread(deployment.close))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _counted(deployment: Deployment) -> tuple[str, ...]:
    """What its frames are counted by."""
    answerer = deployment.answerer
    return (*answerer.candidates, WHOLE_MODEL) if answerer.takes_items else answerer.candidates
