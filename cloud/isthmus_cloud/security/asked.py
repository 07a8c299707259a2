"""On whose behalf something is done, for the log: rooms behind the faces know no callers."""

from contextvars import ContextVar

# The name of the identity whose call is under way, set by the face that let it in. It goes along
# into the tasks of that call. "" where nobody asks for names, at the start and at a reload.
ASKED_BY: ContextVar[str] = ContextVar("asked_by", default="")

__all__ = ["ASKED_BY"]
