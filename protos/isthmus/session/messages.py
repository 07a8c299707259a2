"""Small messages that both sides of a session make or read."""

from isthmus.v1 import split_pb2 as pb

MOST_CHARACTERS = 500  # of what the other side says

__all__ = ["cleaned", "code_name", "complete_echo", "error_message", "is_final"]

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


def cleaned(text: str, most_characters: int = MOST_CHARACTERS) -> str:
    """What the other side says, as people can be shown it: not too long, on one line.

    Whatever is not printable, such as what moves a terminal's cursor, becomes a question mark.
    """
    return "".join(each if each.isprintable() else "?" for each in text[:most_characters])
