"""Small messages that both sides of a session make or read."""

from isthmus.v1 import split_pb2 as pb

__all__ = ["code_name", "complete_echo", "error_message", "is_final"]

# What a new stream to the same service cannot mend.
_FINAL = frozenset({pb.ERROR_CODE_BUNDLE_MISMATCH, pb.ERROR_CODE_PROTOCOL})


def error_message(
    sequence: int, code: pb.ErrorCode, text: str, received_ns: int = 0
) -> pb.CloudMessage:
    """An error about a frame that arrived at `received_ns`, or with sequence 0 about the stream."""
    return pb.CloudMessage(
        error=pb.Error(sequence=sequence, code=code, message=text, received_ns=received_ns)
    )


def complete_echo(beat: pb.Heartbeat, answered_ns: int) -> None:
    """The last touch to a heartbeat that is written now: its time, and the padding that was given.

    Padding takes no memory before: heartbeats that a device does not read may wait for long.
    """
    beat.padding = bytes(beat.answer_bytes)
    beat.answered_ns = answered_ns


def code_name(error: pb.Error) -> str:
    """For instance ``"BAD_FRAME"``; a code of a newer contract has no name here."""
    try:
        return pb.ErrorCode.Name(error.code).removeprefix("ERROR_CODE_")
    except ValueError:
        return f"CODE_{error.code}"


def is_final(error: pb.Error) -> bool:
    """Whether an error about the stream means that connecting again is of no use."""
    return error.code in _FINAL
