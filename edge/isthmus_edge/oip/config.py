"""What the endpoint can be told, validated once at the border."""

from dataclasses import dataclass, field

from isthmus import ConfigError
from isthmus.oip import Limits
from isthmus_edge.oip.addresses import Address, parse_address

SOCKET_MODES = (0o600, 0o660)

__all__ = ["EndpointConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """Settings of one `Endpoint`.

    `listen` holds ``unix:/PATH`` and ``HOST:PORT`` of this machine (port 0 takes a free one).
    Whoever may open the socket may ask: `socket_mode` is 0o600 (this user) or 0o660 (its group,
    too). `limits` bounds messages and what is answered at once.
    """

    listen: tuple[str, ...]
    socket_mode: int = 0o600
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.listen:
            raise ConfigError("listen: give at least one address, unix:/PATH or 127.0.0.1:PORT")
        if self.socket_mode not in SOCKET_MODES:
            allowed = " or ".join(f"0o{mode:o}" for mode in SOCKET_MODES)
            raise ConfigError(f"socket_mode 0o{self.socket_mode:o}: use {allowed}")
        seen: set[str] = set()
        for address in map(str, self.addresses):
            if address in seen and not address.endswith(":0"):
                raise ConfigError(f"listen: address {address} is given twice")
            seen.add(address)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """`listen`, parsed."""
        return tuple(map(parse_address, self.listen))
