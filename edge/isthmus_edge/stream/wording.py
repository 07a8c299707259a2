"""What an end of the stream and a refusal mean, in words for people, with the way out."""

from isthmus.session import DeviceState
from isthmus_edge.stream.handshake import START_IT
from isthmus_edge.stream.transport import BUSY, DENIED, Break

MISMATCH_WAY_OUT = (
    "have an operator activate this device's version there (`isthmus push`, `isthmus activate`), "
    'or fetch the service\'s (`isthmus fetch`; for a daemon: [bundle] from = "cloud")'
)
# What the service's guard says of one identity; every other refusal is of the whole service.
_OF_STREAMS = "open, which is the most it may have"
_OF_CALLS = "under way, which is the most it may have"
_MORE_STREAMS = "end another one, or have an operator allow more there (`isthmus tokens`)"
_FEWER_CALLS = "end others of the same identity"
_MORE_PLACES = (
    "the service is full: have an operator give it more places (`isthmus cloud --max-streams`), or "
    "start another one"
)
# By gRPC's status, where nothing more is known.
_NOT_THERE = {
    "": START_IT,
    "UNAVAILABLE": START_IT,
    "UNIMPLEMENTED": "this is gRPC, but another service: is the port right?",
}
_TOKEN = "is its token right (token_file, --token-file)?"  # noqa: S105 - no secret

__all__ = ["MISMATCH_WAY_OUT", "end_text", "refusal_text"]


def end_text(end: Break, state: DeviceState) -> str:
    """Why a connection has ended by itself, while the session was in this state."""
    if end.status in DENIED:
        return f"the cloud does not let this device in ({end.reason}); {_TOKEN}"
    if state == "greeting" and end.status in BUSY:
        return f"the cloud takes no stream of this device now ({end.reason}); {_room(end.reason)}"
    if state == "greeting":
        way_out = end.way_out or _NOT_THERE.get(end.status, "")
        return f"the cloud is not there: {end.reason}" + (f"; {way_out}" if way_out else "")
    if state == "draining":
        return "the service has left in order: it is being stopped, or restarted"
    if end.is_orderly:
        return f"the service, or what stands before it, closed the stream: {end.reason}"
    return f"the link to the cloud broke: {end.reason}"


def refusal_text(code: str, text: str) -> str:
    """Why the service does not take this device as it is."""
    return f"{text}: {MISMATCH_WAY_OUT}" if code == "BUNDLE_MISMATCH" else text


def _room(reason: str) -> str:
    """How there comes to be a place for a stream that was refused for want of one."""
    if _OF_STREAMS in reason:
        return _MORE_STREAMS
    return _FEWER_CALLS if _OF_CALLS in reason else _MORE_PLACES
