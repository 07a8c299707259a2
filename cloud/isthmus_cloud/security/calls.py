"""How many calls each identity has under way, so that no one of them holds all places there are."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from isthmus_cloud.security.identity import DeniedError

CallKind = Literal["calls", "inferences"]

# Beside its streams of frames. Devices and operators have one or two calls at a time; who asks for
# answers may have as many as one connection carries.
MOST_EACH: Mapping[CallKind, int] = {"calls": 8, "inferences": 128}
CALL_RETRY_S = 1.0

__all__ = ["MOST_EACH", "CallKind", "CallsEach"]


class CallsEach:
    """For the event loop's thread. Callers without a name are not told apart, and not counted."""

    def __init__(self) -> None:
        self._under_way: Counter[tuple[str, CallKind]] = Counter()

    def check(self, name: str, kind: CallKind) -> None:
        """DeniedError ("calls") if the identity of this name has as many of this kind as it may."""
        count = self._under_way[name, kind] if name else 0
        if count >= MOST_EACH[kind]:
            text = f"{name} has {count} calls under way, which is the most it may have"
            raise DeniedError(text, "calls", CALL_RETRY_S, name)

    def begun(self, name: str, kind: CallKind) -> None:
        """One more."""
        if name:
            self._under_way[name, kind] += 1

    def ended(self, name: str, kind: CallKind) -> None:
        """One that `begun` has counted is over."""
        if name:
            self._under_way[name, kind] -= 1
            if not self._under_way[name, kind]:
                del self._under_way[name, kind]
