"""Which guard stands at the door, by what the service was told; the tokens file is looked after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from isthmus import is_loopback
from isthmus.addresses import split_address
from isthmus_cloud.config import ServiceConfig
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.looking import looking
from isthmus_cloud.security.guards import CertificateGuard, DeviceDoor, TokenGuard
from isthmus_cloud.security.identity import Guard, OpenDoor
from isthmus_cloud.security.tokens_file import TokensFile

REFRESH_S = 1.0

__all__ = ["guarded"]


@asynccontextmanager
async def guarded(config: ServiceConfig) -> AsyncIterator[Guard]:
    """The guard of a service, as long as the context lasts. ConfigError if `tokens` cannot be read.

    With a tokens file, who is in it, and its changes hold within `REFRESH_S`; with a `client_ca`
    the certificate must have the same name. With a `client_ca` alone, every certificate is a
    device. With neither, everybody is an operator on the loopback and a device beyond it.
    """
    has_certificates = config.client_ca is not None
    if config.tokens is None:
        yield CertificateGuard() if has_certificates else _unasked(config)
        return
    guard = TokenGuard(certificates=has_certificates, clock=asyncio.get_running_loop().time)
    # A thread of its own: a revocation does not wait for models that are loaded.
    with DiskThreads("isthmus-tokens", 1) as thread:
        file = await thread(TokensFile, config.tokens, guard.use)
        async with looking(partial(thread, file.refresh), REFRESH_S, "the tokens file"):
            yield guard


def _unasked(config: ServiceConfig) -> Guard:
    host, _ = split_address(config.listen)
    return OpenDoor() if is_loopback(host) else DeviceDoor()
