"""Files are looked at again and again, and what fails once does not end that.

async with looking(file.look, LOOK_S, "the tokens file"):
    ...
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

__all__ = ["looking"]

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def looking(
    look: Callable[[], Awaitable[None]], period_s: float, what: str
) -> AsyncIterator[None]:
    """Call `look` every `period_s` as long as the context lasts; an error is logged with `what`."""
    task = asyncio.create_task(_keep_looking(look, period_s, what))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_looking(look: Callable[[], Awaitable[None]], period_s: float, what: str) -> None:
    while True:
        await asyncio.sleep(period_s)
        try:
            await look()
        except Exception:
            _logger.exception("%s could not be looked at; all stays as it was", what)
