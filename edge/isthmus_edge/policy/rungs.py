"""Which rung of a candidate's ladder the next frame takes: rate control, fed with live figures."""

import logging
from collections.abc import Iterable

import msgspec

from isthmus import Candidate
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.policy.rate import Demand, RateController, Remaining, budget

__all__ = ["Rungs"]

log = logging.getLogger("isthmus.edge")


class Rungs:
    """One agent's rate control. `advice` is what it last said of a link too thin for the floor."""

    def __init__(self, candidates: Iterable[Candidate], agreement_floor: float) -> None:
        self._controller = RateController(candidates)
        self._floor = agreement_floor
        self._in_differences = False
        self.advice: str | None = None

    def choose(self, candidate: Candidate, remaining: Remaining, demand: Demand) -> Candidate:
        """The candidate, its `chosen` being the rung for the next frame; once a frame."""
        coarsest_bytes = self._controller.coarsest_bytes(candidate, self._floor)
        choice = self._controller.choose(
            candidate, self._floor, budget(remaining, demand, coarsest_bytes)
        )
        log.debug("%s: %s", candidate.id, choice.reason)
        self._note(choice.advice)
        return msgspec.structs.replace(candidate, chosen=choice.rung)

    def revise(self, candidates: Iterable[Candidate]) -> None:
        """What is known of these has changed: what is not trusted any more is not advised."""
        self._controller.revise(candidates)

    def rest(self) -> None:
        """A frame that sends nothing: there is nothing to advise."""
        self.advice = None

    def learn(self, message: pb.Frame) -> None:
        """How large a frame became.

        In a stream of differences, frames that stand for themselves are the exception: a key
        frame, and the one frame behind a change of rung. They would pass for a change of scene.
        """
        is_difference, were_differences = message.reference > 0, self._in_differences
        self._in_differences = is_difference
        if is_difference or not (message.mark or were_differences):
            payload_bytes = sum(len(payload.data) for payload in message.payloads)
            self._controller.learn(message.candidate, message.rung, payload_bytes)

    def _note(self, advice: str | None) -> None:
        if advice is not None and advice != self.advice:
            log.info("no allowed rung fits the link: %s", advice)
        self.advice = advice
