"""How the faces of the store say no: a status, and a text without paths of this machine."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc

from isthmus import BundleError, ConfigError, IsthmusError, WireError
from isthmus.log_lines import tell
from isthmus_cloud.faces.callers import Refused, aborting
from isthmus_cloud.security.asked import ASKED_BY
from isthmus_cloud.store import StoreFullError, UnknownVersionError, told

CHANGES = frozenset({"push", "activate", "rollback", "remove"})  # that did not come about
STALLED = "nothing moved on this call for too long"

Context = grpc.aio.ServicerContext[Any, Any]

__all__ = ["Places", "TooManyError", "refusing"]

_logger = logging.getLogger(__name__)


class TooManyError(IsthmusError):
    """As many calls of this kind run as may; the caller may come back."""


_STATUSES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (UnknownVersionError, grpc.StatusCode.NOT_FOUND),
    (StoreFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (TooManyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ConfigError, grpc.StatusCode.INVALID_ARGUMENT),
    (BundleError, grpc.StatusCode.INVALID_ARGUMENT),
    (WireError, grpc.StatusCode.INVALID_ARGUMENT),
    (IsthmusError, grpc.StatusCode.FAILED_PRECONDITION),
)


class Places:
    """How many calls of one kind run at once; `what` names them for those that are sent away."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take one for as long as the block lasts; TooManyError if there is none."""
        if self._taken >= self._most:
            raise TooManyError(f"{self._most} {self._what} run already; come back later")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


@asynccontextmanager
async def refusing(
    context: Context, root: Path, call: str, refused: Refused
) -> AsyncIterator[None]:
    """Ends the call with the status that belongs to an error within, if it is one of ours.

    Others are logged, and the caller hears nothing of them. `root` is where the store lies, `call`
    names what was asked for, for the log; `refused` hears of who is turned away, see `aborting`.
    """
    try:
        async with aborting(context, refused):
            yield
    except TimeoutError:
        _tell(call, context.peer(), STALLED)
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, STALLED)
    except IsthmusError as error:
        code = next(code for kind, code in _STATUSES if isinstance(error, kind))
        _tell(call, context.peer(), str(error))
        await context.abort(code, told(str(error), root))
    except (grpc.aio.AbortError, grpc.aio.BaseError):
        raise
    except Exception:
        _logger.exception("a call of %s failed", context.peer())
        await context.abort(grpc.StatusCode.INTERNAL, "the service failed; its log says why")


def _tell(call: str, peer: str, why: str) -> None:
    level = logging.WARNING if call in CHANGES else logging.INFO
    identity = ASKED_BY.get() or None
    tell(_logger, level, "not_done", call=call, identity=identity, peer=peer, why=why)
