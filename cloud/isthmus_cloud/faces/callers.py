"""Who calls, as gRPC tells it; and how it is told that it may not come in."""

import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from isthmus_cloud.security.identity import Caller, DeniedError

RETRY_AFTER_MS = "retry-after-ms"

_STATUS_OF = {
    "token": grpc.StatusCode.UNAUTHENTICATED,
    "certificate": grpc.StatusCode.UNAUTHENTICATED,
    "rate": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "streams": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "calls": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "in_flight": grpc.StatusCode.RESOURCE_EXHAUSTED,
}

__all__ = ["RETRY_AFTER_MS", "Refused", "aborting", "caller_of"]

Context = grpc.aio.ServicerContext[Any, Any]
Refused = Callable[[str, str, str], None]  # hears of who was turned away: identity, why, peer


def caller_of(context: Context) -> Caller:
    """The caller of this call, for a guard.

    Metadata that came twice are joined by a comma, as in HTTP, and binary ones left out. The names
    of a certificate are its common name, then the alternative ones; only TLS puts them there, and
    only after it has verified the certificate.
    """
    return Caller(
        peer=context.peer(),
        metadata=_metadata(context),
        certificate_names=tuple(dict.fromkeys(_names(context.auth_context()))),
    )


@asynccontextmanager
async def aborting(context: Context, refused: Refused) -> AsyncIterator[None]:
    """Ends the call with a status if a guard denies something within, be it in one of its tasks:
    UNAUTHENTICATED (token, certificate), RESOURCE_EXHAUSTED (rate, streams, calls, in_flight) or
    PERMISSION_DENIED (role, …).

    Where coming back helps, the trailing metadata `retry-after-ms` say when. `refused` hears of it
    once, with the identity ("" where it is not known), why, and the peer; nothing is logged here.
    """
    try:
        yield
    except (DeniedError, ExceptionGroup) as error:
        denied = _denied(error)
        if denied is None:
            raise
        refused(denied.identity, denied.why, context.peer())
        code = _STATUS_OF.get(denied.why, grpc.StatusCode.PERMISSION_DENIED)
        await context.abort(code, str(denied), _hint(denied))


def _denied(error: Exception) -> DeniedError | None:
    """The refusal, if there is nothing else in it."""
    if isinstance(error, ExceptionGroup):
        refusals = {type(each): each for each in error.exceptions}
        return _denied(next(iter(refusals.values()))) if len(refusals) == 1 else None
    return error if isinstance(error, DeniedError) else None


def _metadata(context: Context) -> dict[str, str]:
    joined: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _names(trusted: Mapping[str, Any]) -> Iterator[str]:
    for key in ("x509_common_name", "x509_subject_alternative_name"):
        for name in trusted.get(key, ()):
            yield name.decode("utf-8", "replace")


def _hint(denied: DeniedError) -> tuple[tuple[str, str], ...]:
    if denied.retry_after_s is None:
        return ()
    return ((RETRY_AFTER_MS, str(math.ceil(denied.retry_after_s * 1000))),)
