"""Several services in this process, each at an address, for an agent that is told of all."""

from random import Random

import pytest
from tests.edge.fakes import FakeService

from isthmus import LinkError
from isthmus_edge import Break, Transport, contact
from isthmus_edge.stream.addresses import Address, Addresses, Target
from isthmus_edge.stream.credentials import Credentials
from isthmus_edge.stream.ways import Ways

__all__ = ["Names", "install", "refuse"]


class Names:
    """A name server that says what a test wants; None for a name that is not known."""

    def __init__(self, **known: tuple[str, ...] | None) -> None:
        self.known = known
        self.asked: list[str] = []

    async def __call__(self, target: Target) -> tuple[str, ...]:
        self.asked.append(target.host)
        ips = self.known.get(target.host)
        if ips is None:
            raise LinkError(f"the name {target.host} is not known")
        return ips


def install(
    monkeypatch: pytest.MonkeyPatch,
    services: dict[str, FakeService],
    names: Names | None = None,
    seed: int = 0,
) -> None:
    """Agents reach these services by their IP addresses, and no network."""

    def ways(
        targets: tuple[Target, ...], credentials: Credentials, limit: int, *, in_order: bool
    ) -> Ways:
        async def dial(address: Address) -> Transport:
            return services[address.ip]

        return Ways(Addresses(targets, Random(seed), in_order=in_order), dial, names or Names())

    monkeypatch.setattr(contact, "grpc_ways", ways)


def refuse(service: FakeService, status: str, retry_after_s: float = 0.0) -> None:
    """Every stream ends with this status of gRPC, in place of a greeting."""
    service.greeting = None
    connect = service.connect

    def refusing(on_message: object, on_end: object) -> object:
        connection = connect(on_message, on_end)  # type: ignore[arg-type]
        on_end(Break(f"{status}: not you", status, retry_after_s))  # type: ignore[operator]
        return connection

    service.connect = refusing  # type: ignore[method-assign,assignment]
