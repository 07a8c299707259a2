"""The rules of the split stream without any I/O: messages and times in, messages and events out.

Both sides use it. `DeviceSession` and `ServiceSession` hold no socket, no clock and no thread;
every call that needs a time is given one (monotonic, in seconds). What a state allows stands in
one table for each side (`table.py`). A call that the state does not allow is an error of ours
(`isthmus.SessionError`, raised); a message that it does not allow is the peer's (an event that
ends the stream).
"""

from isthmus.session.device import DeviceSession, Identity
from isthmus.session.device_events import (
    Answered,
    DeviceEvent,
    Draining,
    Echoed,
    Failed,
    LoadTold,
    Lost,
    Missing,
    Refused,
    Told,
    UpdateOffered,
    Welcomed,
)
from isthmus.session.messages import cleaned, complete_echo, error_message
from isthmus.session.service import MOST_NAMED, ServiceLimits, ServiceSession
from isthmus.session.service_events import (
    Answer,
    Check,
    Close,
    GiveUp,
    Greet,
    Reply,
    ServiceEvent,
)
from isthmus.session.table import DEVICE_TABLE, SERVICE_TABLE, DeviceState, ServiceState

__all__ = [
    "DEVICE_TABLE",
    "MOST_NAMED",
    "SERVICE_TABLE",
    "Answer",
    "Answered",
    "Check",
    "Close",
    "DeviceEvent",
    "DeviceSession",
    "DeviceState",
    "Draining",
    "Echoed",
    "Failed",
    "GiveUp",
    "Greet",
    "Identity",
    "LoadTold",
    "Lost",
    "Missing",
    "Refused",
    "Reply",
    "ServiceEvent",
    "ServiceLimits",
    "ServiceSession",
    "ServiceState",
    "Told",
    "UpdateOffered",
    "Welcomed",
    "cleaned",
    "complete_echo",
    "error_message",
]
