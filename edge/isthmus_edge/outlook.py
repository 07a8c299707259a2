"""What the agent expects: live times, the link and the plan, brought together for the policy."""

from typing import Protocol

from isthmus import Candidate, Manifest, answer_bytes
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.config import AgentConfig, Objective
from isthmus_edge.link import LinkEstimate
from isthmus_edge.observed import Observed
from isthmus_edge.policy import (
    Decision,
    Goal,
    Situation,
    computing_ms,
    decide,
    predict,
)
from isthmus_edge.rate import Demand, Remaining
from isthmus_edge.rungs import Rungs

LEAST_PATIENCE_MS = 1000.0
PATIENCE = 3.0  # a frame waits for this many predicted latencies

__all__ = ["Link", "Outlook"]


class Link(Protocol):
    """What the outlook asks of an uplink."""

    queue_ms: float  # what a frame waits in the cloud

    @property
    def link_queue_ms(self) -> float:
        """What a frame would wait behind those that are still on the link."""
        ...

    def estimate(self) -> LinkEstimate | None:
        """The link as it is believed to be, None while it is not up."""
        ...


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
        self._on_device = Observed()
        self._in_cloud = Observed()

    @property
    def device_scale(self) -> float:
        """Live device time over planned device time."""
        return self._on_device.scale

    @property
    def rate_advice(self) -> str | None:
        """What would suit the link better, while no allowed rung fits it."""
        return self._rungs.advice

    def note_device(self, candidate: Candidate, took_ms: float) -> None:
        """The device computed one frame of `candidate`, head and encoding together."""
        self._on_device.add(candidate, took_ms, candidate.figures.device_ms)

    def note_cloud(self, candidate: Candidate, took_ms: float) -> None:
        """The cloud computed one frame of `candidate`, decoding and tail together."""
        self._in_cloud.add(candidate, took_ms, candidate.figures.cloud_ms)

    def note_size(self, message: pb.Frame) -> None:
        """A frame was entropy coded: so large it is."""
        self._rungs.learn(message)

    def decide(self, uplink: Link | None, in_use: str | None, objective: Objective) -> Decision:
        """What the policy chooses now, at the coarsest rung that the agreement floor allows."""
        goal = Goal(objective, self._floor)
        return decide(self._kept, self._situation(uplink, in_use), goal)

    def decision_for(
        self, pinned: Candidate | None, uplink: Link | None, in_use: str | None
    ) -> Decision:
        """The pinned candidate, or what the policy chooses for the configured objective."""
        if pinned is None:
            return self.decide(uplink, in_use, self._config.objective)
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
            link=link,
            device_ms=device_ms,
            cloud_ms=cloud_ms,
            queue_ms=uplink.link_queue_ms + uplink.queue_ms,
            answer_bytes=situation.answer_bytes,
        )
        if left_ms is not None:
            left_ms -= self._rest_ms(candidate)
        demand = Demand(objective=self._config.objective, deadline_left_ms=left_ms)
        candidate = self._rungs.choose(candidate, remaining, demand)
        return Decision(candidate, predict(candidate, situation), decision.reason)

    def patience_ms(self, decision: Decision, left_ms: float | None) -> float:
        """How long to wait for the cloud before the device finishes a frame itself.

        `left_ms` is what remains until the frame's deadline: the device needs its part of it.
        """
        patience_ms = self._config.patience_ms
        if patience_ms is None:
            expected_ms = decision.prediction.latency_ms * decision.prediction.in_flight
            patience_ms = max(LEAST_PATIENCE_MS, PATIENCE * expected_ms)
        if left_ms is not None:
            patience_ms = min(patience_ms, left_ms - self._rest_ms(decision.candidate))
        return max(patience_ms, 0.0)

    def _rest_ms(self, candidate: Candidate) -> float:
        """What the device would need for the rest of the chain, by the plan and its live scale."""
        return self._manifest.cut_of(candidate).rest_ms * self._on_device.scale

    def _situation(self, uplink: Link | None, in_use: str | None) -> Situation:
        return Situation(
            link=None if uplink is None else uplink.estimate(),
            device_scale=self._on_device.scale,
            cloud_scale=self._in_cloud.scale,
            device_ms=self._on_device.live_ms(),
            cloud_ms=self._in_cloud.live_ms(),
            queue_ms=0.0 if uplink is None else uplink.queue_ms,
            answer_bytes=self._answer_bytes(),
            in_use=in_use,
        )

    def _answer_bytes(self) -> int:
        """At most: a head may have computed some outputs already."""
        return answer_bytes(self._manifest.outputs, self._config.answer_top_k)
