"""What the agent expects: live times, the link and the plan, brought together for the policy."""

from isthmus import Candidate, Manifest
from isthmus_edge.config import AgentConfig, Objective
from isthmus_edge.observed import Observed
from isthmus_edge.policy import Decision, Goal, Situation, decide, predict
from isthmus_edge.uplink import Uplink

LEAST_PATIENCE_MS = 1000.0
PATIENCE = 3.0  # a frame waits for this many predicted latencies

__all__ = ["Outlook"]


class Outlook:
    """Collects what frames took, and answers what the next one should do and how long it may."""

    def __init__(self, manifest: Manifest, config: AgentConfig) -> None:
        self._manifest = manifest
        self._config = config
        floor = config.agreement_floor
        self._floor = manifest.agreement_floor if floor is None else floor
        self._on_device = Observed()
        self._in_cloud = Observed()

    @property
    def device_scale(self) -> float:
        """Live device time over planned device time."""
        return self._on_device.scale

    def note_device(self, candidate: Candidate, took_ms: float) -> None:
        """The device computed one frame of `candidate`, head and encoding together."""
        self._on_device.add(candidate, took_ms, candidate.figures.device_ms)

    def note_cloud(self, candidate: Candidate, took_ms: float) -> None:
        """The cloud computed one frame of `candidate`, decoding and tail together."""
        self._in_cloud.add(candidate, took_ms, candidate.figures.cloud_ms)

    def decide(self, uplink: Uplink | None, in_use: str | None, objective: Objective) -> Decision:
        """What the policy chooses now."""
        goal = Goal(objective, self._floor)
        return decide(self._manifest.kept, self._situation(uplink, in_use), goal)

    def decision_for(
        self, pinned: Candidate | None, uplink: Uplink | None, in_use: str | None
    ) -> Decision:
        """The pinned candidate, or what the policy chooses for the configured objective."""
        if pinned is None:
            return self.decide(uplink, in_use, self._config.objective)
        return Decision(pinned, predict(pinned, self._situation(uplink, in_use)), "pinned")

    def patience_ms(self, decision: Decision, depth: int, left_ms: float | None) -> float:
        """How long to wait for the cloud before the device finishes a frame itself.

        `left_ms` is what remains until the frame's deadline: the device needs its part of it.
        """
        patience_ms = self._config.patience_ms
        if patience_ms is None:
            expected_ms = decision.prediction.latency_ms * decision.prediction.in_flight
            patience_ms = max(LEAST_PATIENCE_MS, PATIENCE * expected_ms)
        if left_ms is not None:
            patience_ms = min(patience_ms, left_ms - self._rest_ms(depth))
        return max(patience_ms, 0.0)

    def _rest_ms(self, depth: int) -> float:
        """What the device would need for the rest of the chain, by the plan and its live scale."""
        manifest = self._manifest
        heads = [
            c.figures.edge_ms for c in manifest.candidates if manifest.cut_of(c).depth == depth
        ]
        rest_ms = manifest.local.figures.device_ms - min(heads, default=0.0)
        return rest_ms * self._on_device.scale

    def _situation(self, uplink: Uplink | None, in_use: str | None) -> Situation:
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
        k = self._config.answer_top_k
        return sum(min(s.nbytes, 8 * k) if k else s.nbytes for s in self._manifest.outputs)
