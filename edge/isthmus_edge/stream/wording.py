"""What an end of the stream and a refusal mean, in words for people, with the way out."""

from isthmus.session import DeviceState
from isthmus_edge.stream.handshake import START_IT
from isthmus_edge.stream.transport import BUSY, DENIED, Break

MISMATCH_WAY_OUT = (
    "have an operator activate this device's version there (`isthmus push`, `isthmus activate`), "
    'or fetch the service\'s (`isthmus fetch`; for a daemon: [bundle] from = "cloud")'
)
_LIMITS = "end another one, or have an operator allow more there (`isthmus tokens`)"
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
        return f"the cloud takes no stream of this device now ({end.reason}); {_LIMITS}"
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
