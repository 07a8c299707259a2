"""A look at another service: how loaded it is, told on a stream of its own that carries no frame.

    Hello (look) and the end of what the device says -> Welcome with its load -> the end

No session comes of it. A service of an older release begins one, under an id that nobody has, and
ends it when it reads that the device has said all.
"""

import time
import uuid
from dataclasses import dataclass, replace

from isthmus.session import (
    DeviceEvent,
    DeviceSession,
    Draining,
    Identity,
    LoadTold,
    Lost,
    Refused,
    Welcomed,
)
from isthmus_edge.stream.addresses import LONGEST_RETRY_S
from isthmus_edge.stream.inbox import Inbox
from isthmus_edge.stream.transport import DENIED, Break, Transport
from isthmus_edge.stream.wording import end_text

LOOK_S = 2.0  # for all of it
GOODBYE_S = 0.5  # of that, for the service to end the stream: it may yet say that it drains
MOST_MESSAGES = 64  # that are heeded; there should be one or two
REFUSED_S = 60.0  # that a service which does not let this device in is not looked at again

__all__ = ["Sight", "look"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen: a load; or None, why, and how long there is no use in looking again."""

    load: LoadTold | None
    why: str = ""
    rest_s: float = 0.0


async def look(transport: Transport, identity: Identity) -> Sight:
    """Ask for the load at the other end; raises what a transport raises that cannot begin."""
    inbox = Inbox()
    session = DeviceSession(replace(identity, session_id=uuid.uuid4().hex), LOOK_S)
    hello = session.connect(time.monotonic())
    hello.hello.look = True
    connection = transport.connect(inbox.post, inbox.post)
    try:
        connection.send(hello)
        connection.finish()
        return await _heard(inbox, session)
    finally:
        connection.close()


async def _heard(inbox: Inbox, session: DeviceSession) -> Sight:
    sight = Sight(None, f"no answer within {LOOK_S:g} s")
    ends_at = time.monotonic() + LOOK_S
    for _ in range(MOST_MESSAGES):
        item = await inbox.next(ends_at - time.monotonic())  # what has come is heeded in any case
        now = time.monotonic()
        match item:
            case None if now >= ends_at:
                return sight
            case None:
                continue
            case Break() as end if sight.load is None:
                text = end_text(end, session.state)
                events = session.lost(text, end.status, end.retry_after_s)
            case Break():
                return sight
            case message:
                events = session.received(message, now)
        for event in events:
            if isinstance(event, Welcomed):
                ends_at = min(ends_at, now + GOODBYE_S)
            elif isinstance(event, LoadTold):
                sight = Sight(event)
            elif (no_place := _no_place(event)) is not None:
                return no_place
    return Sight(None, "it says more than a look is worth")


def _no_place(event: DeviceEvent) -> Sight | None:
    """Why this device cannot go there, if the event says so."""
    match event:
        case Draining():
            return Sight(None, "it drains")
        case Lost(reason, code, retry_after_s):
            asked_s = min(retry_after_s, LONGEST_RETRY_S)
            return Sight(None, reason, max(asked_s, REFUSED_S) if code in DENIED else asked_s)
        case Refused(_, text):
            return Sight(None, text, REFUSED_S)
        case _:
            return None
