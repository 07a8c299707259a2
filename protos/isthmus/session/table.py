"""What each state of a session allows, and which state follows. What is not here is an error.

Device:   down --connect--> greeting --welcome--> open --drain--> draining
            ^                  |                   |                 |
            +------ lost ------+-------------------+-----------------+
          of these three, --refusal--> refused (for good); any --close--> closed

Service:  waiting --hello--> open --lost--> parked --resume--> open
             |                 |               +--expired, drain--> ended
             |                 +--drain--> draining --lost--> ended
             +--lost, drain--> ended                    any --close--> ended

`refusal` is the peer's message that no other stream can mend, or one that the state does not allow.
`resume` in `open` is a device that came back before its old stream was known to be dead.
"""

from collections.abc import Mapping
from typing import Literal

DeviceState = Literal["down", "greeting", "open", "draining", "refused", "closed"]
DeviceInput = Literal[
    "connect",
    "welcome",
    "refusal",
    "lost",
    "drain",
    "close",
    "frame",
    "cancel",
    "audit",
    "beat",
    "result",
    "error",
    "heartbeat",
    "load",
    "verdict",
    "update",
]
ServiceState = Literal["waiting", "open", "draining", "parked", "ended"]
ServiceInput = Literal[
    "hello",
    "resume",
    "frame",
    "heartbeat",
    "cancel",
    "audit",
    "drain",
    "lost",
    "expired",
    "close",
]

__all__ = [
    "DEVICE_TABLE",
    "SERVICE_TABLE",
    "DeviceInput",
    "DeviceState",
    "ServiceInput",
    "ServiceState",
]


def _device_table() -> dict[tuple[DeviceState, DeviceInput], DeviceState]:
    table: dict[tuple[DeviceState, DeviceInput], DeviceState] = {
        ("down", "connect"): "greeting",
        ("down", "cancel"): "down",
        ("greeting", "welcome"): "open",
        ("greeting", "cancel"): "greeting",
        ("open", "frame"): "open",
        ("open", "audit"): "open",
        ("open", "drain"): "draining",
        ("draining", "drain"): "draining",
        ("refused", "cancel"): "refused",
        ("closed", "close"): "closed",
        ("closed", "cancel"): "closed",
    }
    connected: tuple[DeviceState, ...] = ("greeting", "open", "draining")
    for state in connected:
        table[state, "refusal"] = "refused"
        table[state, "lost"] = "down"
    for state in (*connected, "down", "refused"):
        table[state, "close"] = "closed"
    traffic: tuple[DeviceInput, ...] = (
        "result",
        "error",
        "heartbeat",
        "load",
        "verdict",
        "update",
        "beat",
        "cancel",
    )
    for state in ("open", "draining"):
        table |= {(state, kind): state for kind in traffic}
    return table


def _service_table() -> dict[tuple[ServiceState, ServiceInput], ServiceState]:
    table: dict[tuple[ServiceState, ServiceInput], ServiceState] = {
        ("waiting", "hello"): "open",
        ("waiting", "drain"): "ended",
        ("waiting", "lost"): "ended",
        ("open", "drain"): "draining",
        ("open", "lost"): "parked",
        ("open", "resume"): "open",
        ("parked", "resume"): "open",
        ("parked", "expired"): "ended",
        ("parked", "drain"): "ended",
        ("draining", "drain"): "draining",
        ("draining", "lost"): "ended",
        ("ended", "lost"): "ended",
        ("ended", "drain"): "ended",
    }
    traffic: tuple[ServiceInput, ...] = ("frame", "heartbeat", "cancel", "audit")
    for state in ("open", "draining"):
        table |= {(state, kind): state for kind in traffic}
    states: tuple[ServiceState, ...] = ("waiting", "open", "draining", "parked", "ended")
    for state in states:
        table[state, "close"] = "ended"
    return table


DEVICE_TABLE: Mapping[tuple[DeviceState, DeviceInput], DeviceState] = _device_table()
SERVICE_TABLE: Mapping[tuple[ServiceState, ServiceInput], ServiceState] = _service_table()
