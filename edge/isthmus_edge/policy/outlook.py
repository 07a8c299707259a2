"""What the agent expects: live times, the link and the plan, brought together for the policy."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Protocol

import msgspec

from isthmus import Candidate, ConfigError, Manifest, answer_bytes, left_to_answer
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.config import AgentConfig, Objective, Power
from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.choice import (
    Decision,
    Goal,
    Situation,
    computing_ms,
    decide,
    patience_ms,
    predict,
)
from isthmus_edge.policy.observed import Observed
from isthmus_edge.policy.rate import Demand, Remaining
from isthmus_edge.policy.rungs import Rungs
from isthmus_edge.policy.vitals import BATTERY_FINE, BATTERY_LOW, Vitals

_ASK_AGAIN_MS = 50.0  # whether an answer is still expected in time
_CAUTION = 1.0  # deviations by which the link of a frame with a deadline is taken to be worse

__all__ = ["Link", "Outlook", "Sent"]


class Link(Protocol):
    """What the outlook asks of an uplink."""

    queue_ms: float  # what a frame waits in the cloud

    @property
    def link_queue_ms(self) -> float:
        """What a frame would wait behind those that are still on the link."""
        ...

    @property
    def link_queue_bytes(self) -> float:
        """How much of them is still on the link."""
        ...

    def estimate(self) -> LinkEstimate | None:
        """The link as it is believed to be, None while it is not up."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A frame that was sent `waited_ms` ago, behind `ahead_bytes` that lay on the link.

    `left_ms` remains until its deadline; `rests_ahead` others wait for the device's thread.
    """

    waited_ms: float
    ahead_bytes: float
    left_ms: float | None
    rests_ahead: int = 0


class Outlook:
    """Collects what frames took, and answers what the next one should do and how long it may."""

    def __init__(self, manifest: Manifest, config: AgentConfig) -> None:
        self._manifest = manifest
        self._config = config
        floor = config.agreement_floor
        self._floor = manifest.agreement_floor if floor is None else floor
        candidates = tuple(c.at_floor(self._floor) for c in manifest.candidates)
        self._kept = tuple(c for c in candidates if c.kept)
        self._rungs = Rungs(candidates, self._floor)
        self._answers = {c.id: self._bytes_back(c) for c in candidates}
        self._on_device = Observed()
        self._in_cloud = Observed()
        self._rests = Observed()
        self._vitals = Vitals()
        self._power: Power = config.power

    @property
    def device_scale(self) -> float:
        """Live device time over planned device time."""
        return self._on_device.scale

    @property
    def rate_advice(self) -> str | None:
        """What would suit the link better, while no allowed rung fits it."""
        return self._rungs.advice

    def answer_bytes(self, candidate_id: str) -> int:
        """How large the answer of a candidate's frames is."""
        return self._answers[candidate_id]

    def note_device(self, candidate: Candidate, took_ms: float) -> None:
        """The device computed one frame of `candidate`, head and encoding together."""
        self._on_device.frame_passed()
        self._in_cloud.frame_passed()
        self._on_device.add(candidate.id, took_ms, candidate.figures.device_ms)

    def note_cloud(self, candidate: Candidate, took_ms: float) -> None:
        """The cloud says that it computed one frame of `candidate`, decoding and tail together."""
        if isfinite(took_ms) and took_ms >= 0:
            self._in_cloud.add(candidate.id, took_ms, candidate.figures.cloud_ms)

    def note_rest(self, cut_id: str, took_ms: float) -> None:
        """The device finished one frame from the tensors of a cut."""
        self._rests.add(cut_id, took_ms, 0.0)

    def note_size(self, message: pb.Frame) -> None:
        """A frame was entropy coded: so large it is."""
        self._rungs.learn(message)

    def note_vitals(self, vitals: Vitals) -> None:
        """How the device says it is; a battery that is nearly empty makes a saver of any goal."""
        self._vitals = vitals
        share = vitals.battery_share
        if share is None or share > BATTERY_FINE:
            self._power = self._config.power
        elif share < BATTERY_LOW:
            self._power = "saver"

    def distrust(self, candidate_id: str, rung: int) -> None:
        """A rung was found below the agreement floor: it and coarser ones meet no floor any more.

        Finer rungs go on counting; a candidate without any is not chosen while another one meets
        the floor. Raises ConfigError for a candidate or a rung that the plan does not have.
        """
        rungs = len(self._manifest.candidate(candidate_id).rungs)
        if not 0 <= rung < rungs:
            raise ConfigError(
                f"candidate {candidate_id!r} has no rung {rung} to distrust; it has, from the "
                f"finest: {', '.join(map(str, range(rungs)))}"
            )
        self._kept = tuple(
            _without(c, rung).at_floor(self._floor) if c.id == candidate_id else c
            for c in self._kept
        )
        self._rungs.revise(self._kept)

    def decide(
        self,
        uplink: Link | None,
        in_use: str | None,
        objective: Objective,
        deadline_ms: float | None = None,
    ) -> Decision:
        """What the policy chooses now, at the coarsest rung that the agreement floor allows.

        `deadline_ms` is what remains until the frame's deadline.
        """
        goal = Goal(objective, self._floor, deadline_ms, self._power)
        return decide(self._kept, self._situation(uplink, in_use), goal)

    def decision_for(
        self,
        pinned: Candidate | None,
        uplink: Link | None,
        in_use: str | None,
        deadline_ms: float | None = None,
    ) -> Decision:
        """The pinned candidate, or what the policy chooses for the configured objective."""
        if pinned is None:
            return self.decide(uplink, in_use, self._config.objective, deadline_ms)
        return Decision(pinned, predict(pinned, self._situation(uplink, in_use)), "pinned")

    def at_best_rung(
        self, decision: Decision, uplink: Link | None, left_ms: float | None
    ) -> Decision:
        """The policy's decision at the rung that rate control finds for one frame.

        `left_ms` is what remains until the frame's deadline. The answer must be here early enough
        for the device to finish the frame if none comes: see `patience_ms`.
        """
        candidate = decision.candidate
        link = None if uplink is None else uplink.estimate()
        if candidate.is_local or uplink is None or link is None or not self._config.rate_control:
            self._rungs.rest()
            return decision
        situation = self._situation(uplink, candidate.id)
        device_ms, cloud_ms = computing_ms(candidate, situation)
        remaining = Remaining(
            link=link if left_ms is None else link.at(-_CAUTION),
            device_ms=device_ms,
            cloud_ms=cloud_ms,
            queue_ms=uplink.link_queue_ms + uplink.queue_ms,
            answer_bytes=self._answers[candidate.id],
        )
        if left_ms is not None:
            left_ms -= self._rest_at_most_ms(candidate)
        demand = Demand(objective=self._config.objective, deadline_left_ms=left_ms)
        candidate = self._rungs.choose(candidate, remaining, demand)
        return replace(decision, candidate=candidate, prediction=predict(candidate, situation))

    def rest_ms(self, candidate: Candidate) -> float:
        """What the device needs for the rest of the chain behind a candidate's cut.

        The live median, else the plan's figure times the device's live scale.
        """
        cut = self._manifest.cut_of(candidate)
        return self._rests.live_ms().get(cut.id, cut.rest_ms * self._on_device.scale)

    def patience_ms(self, decision: Decision, uplink: Link | None, sent: Sent) -> float:
        """How long from now on a frame waits before the device begins to finish it itself.

        It never waits beyond the time when its answer is clearly late by what was believed when it
        was sent. With a deadline it asks again once the device would have to begin, for its rest
        and what waits for its thread. Where the cloud, by what is believed then, should be in time
        even if it is slow, the answer is waited for a little longer, and so on: a rest that is
        begun to be quite safe costs the frames behind it. Silence counts, and soon ends this.
        """
        allowed_ms = self._config.patience_ms
        if allowed_ms is None:
            allowed_ms = patience_ms(decision.prediction, sent.ahead_bytes)
        allowed_ms = max(allowed_ms - sent.waited_ms, 0.0)
        if sent.left_ms is None:
            return allowed_ms
        queue_ms = sent.rests_ahead * self.rest_ms(decision.candidate)
        begin_ms = sent.left_ms - self._rest_at_most_ms(decision.candidate) - queue_ms
        if begin_ms > 0 or self._config.patience_ms is not None:
            return max(min(begin_ms, allowed_ms), 0.0)
        now = predict(decision.candidate, self._situation(uplink, decision.candidate.id))
        late_ms = now.late_behind_ms(sent.ahead_bytes)
        if late_ms is None or late_ms - sent.waited_ms > sent.left_ms:
            return 0.0
        return max(min(allowed_ms, sent.left_ms, _ASK_AGAIN_MS), 0.0)

    def _rest_at_most_ms(self, candidate: Candidate) -> float:
        """The rest with a margin: two deviations of what was measured."""
        cut = self._manifest.cut_of(candidate)
        at_most_ms = self._rests.at_most_ms(cut.id)
        if at_most_ms is not None:
            return at_most_ms
        return cut.rest_ms * self._on_device.at_most_scale

    def _situation(self, uplink: Link | None, in_use: str | None) -> Situation:
        link = None if uplink is None else uplink.estimate()
        return Situation(
            link=link,
            backlog_bytes=0.0 if uplink is None else uplink.link_queue_bytes,
            device_scale=self._on_device.scale,
            cloud_scale=self._in_cloud.scale,
            device_ms=self._on_device.live_ms(),
            cloud_ms=self._in_cloud.live_ms(),
            cloud_spread_ms=self._in_cloud.spread_ms(),
            queue_ms=0.0 if uplink is None else uplink.queue_ms,
            answers=self._answers,
            rest_ms={c.id: self.rest_ms(c) for c in self._kept},
            vitals=self._vitals,
            in_use=in_use,
        )

    def _bytes_back(self, candidate: Candidate) -> int:
        """What comes back: a head may have computed some outputs already."""
        known = self._manifest.cut_of(candidate).answers
        outputs = left_to_answer(self._manifest.outputs, known)
        return answer_bytes(outputs, self._config.answer_top_k)


def _without(candidate: Candidate, rung: int) -> Candidate:
    """The same candidate, of whose rungs `rung` and the coarser ones agree with nothing."""
    rungs = [
        step
        if number < rung
        else msgspec.structs.replace(
            step, figures=msgspec.structs.replace(step.figures, agreement=0.0)
        )
        for number, step in enumerate(candidate.rungs)
    ]
    return msgspec.structs.replace(candidate, rungs=tuple(rungs))
