"""What becomes of a frame, as a message: its result, or an error that a stranger may read."""

import asyncio
import logging

from isthmus import IsthmusError, KeyFrameNeededError, WireError
from isthmus.session import error_message
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.answerer import UnknownCandidateError
from isthmus_cloud.answering.budget import OverloadedError
from isthmus_cloud.answering.jobs import TooLateError
from isthmus_cloud.security import DeniedError

MAX_ERROR_CHARACTERS = 500  # a hostile frame must not be able to order a long answer

__all__ = ["error_of", "outcome_of"]

_logger = logging.getLogger(__name__)

_CODES: dict[type[BaseException], pb.ErrorCode] = {
    UnknownCandidateError: pb.ERROR_CODE_UNKNOWN_CANDIDATE,
    KeyFrameNeededError: pb.ERROR_CODE_KEY_FRAME_NEEDED,
    OverloadedError: pb.ERROR_CODE_OVERLOADED,
    DeniedError: pb.ERROR_CODE_OVERLOADED,
    TooLateError: pb.ERROR_CODE_TOO_LATE,
}


def outcome_of(done: "asyncio.Future[pb.Result]", sequence: int, session: str) -> pb.CloudMessage:
    """The Result of a frame that is done and not cancelled, or the Error that it ended in;
    `session` is its name for the log."""
    error = done.exception()
    if error is None:
        return pb.CloudMessage(result=done.result())
    return error_of(error, sequence, session)


def error_of(error: BaseException, sequence: int, session: str) -> pb.CloudMessage:
    """The Error that a frame ends in."""
    if not isinstance(error, WireError | OverloadedError | TooLateError | DeniedError):
        _logger.error("session %s, frame %d", session, sequence, exc_info=error)
        text = "the service failed on this frame"
        return error_message(sequence, pb.ERROR_CODE_INTERNAL, text)
    code = _CODES.get(type(error), pb.ERROR_CODE_BAD_FRAME)
    message = error_message(sequence, code, str(error)[:MAX_ERROR_CHARACTERS])
    message.error.retry_after_ms = _retry_after_ms(error)
    return message


def _retry_after_ms(error: IsthmusError) -> int:
    match error:
        case OverloadedError(retry_after_ms=after_ms):
            return int(after_ms)
        case DeniedError(retry_after_s=float(after_s)):
            return int(after_s * 1e3)
        case _:
            return 0
