"""Which versions of which models are served, as the live page shows them, and how they agree."""

from collections import OrderedDict
from dataclasses import dataclass

from isthmus.web import Agreement, Deployed, shortened
from isthmus_cloud.telemetry.happenings import Activated, Audited, Unloaded

MOST_VERSIONS = 64

__all__ = ["Versions"]


@dataclass(slots=True)
class _Version:
    streams: int = 0
    answered: int = 0
    compared: int = 0
    agreed: int = 0
    not_compared: int = 0


class Versions:
    """Versions that are active, have streams, or had some: the last `most` of them."""

    def __init__(self, most: int = MOST_VERSIONS) -> None:
        self._most = most
        self._versions: OrderedDict[tuple[str, str], _Version] = OrderedDict()
        self._active: OrderedDict[str, str] = OrderedDict()

    def activated(self, activated: Activated) -> None:
        """New devices get this version from now on."""
        self._active[activated.model] = activated.version
        self._active.move_to_end(activated.model)
        if len(self._active) > self._most:
            self._active.popitem(last=False)
        self._of(activated.model, activated.version)

    def unloaded(self, unloaded: Unloaded) -> None:
        """New devices get none of this model from now on."""
        self._active.pop(unloaded.model, None)

    def stream(self, model: str, version: str, change: int) -> None:
        """One stream more (1), or one less (-1)."""
        each = self._of(model, version)
        each.streams = max(0, each.streams + change)

    def answered(self, model: str, version: str) -> None:
        """One answer more."""
        self._of(model, version).answered += 1

    def audited(self, audited: Audited) -> None:
        """An answer was compared, or could not be."""
        each = self._of(audited.model, audited.version)
        each.compared += audited.compared
        each.agreed += audited.compared and audited.agrees
        each.not_compared += not audited.compared

    def deployed(self) -> list[Deployed]:
        """What is served: active, or with streams that have not moved yet."""
        return [
            Deployed(shortened(model), shortened(version), is_active, each.streams, each.answered)
            for (model, version), each in sorted(self._versions.items())
            if (is_active := self._active.get(model) == version) or each.streams
        ]

    def agreement(self) -> list[Agreement]:
        """Of all versions of which answers were audited."""
        return [
            Agreement(
                shortened(f"{model} {version}".strip()),
                each.compared,
                each.agreed,
                each.not_compared,
            )
            for (model, version), each in sorted(self._versions.items())
            if each.compared or each.not_compared
        ]

    def _of(self, model: str, version: str) -> _Version:
        key = (model, version)
        found = self._versions.get(key)
        if found is None:
            if len(self._versions) >= self._most:
                idle = (k for k, each in self._versions.items() if not each.streams)
                del self._versions[next(idle, next(iter(self._versions)))]
            found = self._versions[key] = _Version()
        return found
