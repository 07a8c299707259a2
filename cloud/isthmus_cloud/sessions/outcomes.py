"""What becomes of a frame, as a message: its result, or an error that a stranger may read."""

import logging
from collections.abc import Awaitable

from isthmus import IsthmusError, KeyFrameNeededError, WireError
from isthmus.session import error_message
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.answerer import TooLateError, UnknownCandidateError
from isthmus_cloud.answering.budget import OverloadedError

MAX_ERROR_CHARACTERS = 500  # a hostile frame must not be able to order a long answer

__all__ = ["outcome_of"]

_logger = logging.getLogger(__name__)

_CODES: dict[type[IsthmusError], pb.ErrorCode] = {
    UnknownCandidateError: pb.ERROR_CODE_UNKNOWN_CANDIDATE,
    KeyFrameNeededError: pb.ERROR_CODE_KEY_FRAME_NEEDED,
    OverloadedError: pb.ERROR_CODE_OVERLOADED,
    TooLateError: pb.ERROR_CODE_TOO_LATE,
}


async def outcome_of(answer: Awaitable[pb.Result], sequence: int, session: str) -> pb.CloudMessage:
    """The Result of a frame, or the Error that it ends in; `session` is its name for the log."""
    try:
        return pb.CloudMessage(result=await answer)
    except (WireError, OverloadedError, TooLateError) as error:
        code, text = _CODES.get(type(error), pb.ERROR_CODE_BAD_FRAME), str(error)
    except Exception:
        _logger.exception("session %s, frame %d", session, sequence)
        code, text = pb.ERROR_CODE_INTERNAL, "the service failed on this frame"
    return error_message(sequence, code, text[:MAX_ERROR_CHARACTERS])
