"""What the link is to the agent right now, who is at its end, and who is told of changes."""

from collections.abc import Callable
from typing import Literal

from isthmus.session import Welcomed
from isthmus_edge.answer import Service
from isthmus_edge.stream.addresses import Address

State = Literal["down", "up", "draining", "refused"]
OnState = Callable[[State, str], None]

__all__ = ["OnState", "Standing", "State"]


class Standing:
    """The state and its reason; refusals of single services wait until the last one is asked."""

    def __init__(self, on_state: OnState) -> None:
        self._on_state = on_state
        self._reason = ""
        self._refusals: dict[Address, str] = {}  # of this round of ways, not told yet
        self._service: Service | None = None
        self.state: State = "down"

    @property
    def service(self) -> Service | None:
        """Who is at the other end; None while nobody is."""
        return self._service if self.state in {"up", "draining"} else None

    def change(self, state: State, reason: str) -> None:
        """It is so from now on; who listens hears of it unless it was so before."""
        before, self.state, self._reason = (self.state, self._reason), state, reason
        if before != (state, reason):
            self._on_state(state, reason)

    def refused_by(self, address: Address, reason: str) -> None:
        """One service refuses this device, and there are others yet to be asked."""
        self._refusals[address] = reason

    def let_in(self, address: str, welcomed: Welcomed) -> None:
        """A service takes this device: what others have said is no news."""
        self._refusals.clear()
        self._service = Service(
            address=address,
            provider=welcomed.provider,
            model=welcomed.model,
            version=welcomed.version,
        )
        resumed = ", session resumed" if welcomed.resumed else ""
        self.change("up", f"connected to {address}, tails run on {welcomed.provider}{resumed}")

    def tell_refusals(self) -> None:
        """No way has led anywhere: what some have said is news, whatever the last one says."""
        for reason in self._refusals.values():
            self.change("refused", reason)
        self._refusals.clear()
