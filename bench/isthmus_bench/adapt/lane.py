"""A lane: a cloud, an emulated link and a slowed device that run one policy after another."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import msgspec

from isthmus_bench.adapt.runs import EWMA, OURS, FrameEnd, Policy, Run, Scene
from isthmus_bench.adapt.subjects import Built
from isthmus_bench.processes import CloudProcess, EdgeProcess
from isthmus_bench.relay import LinkShape, Relay
from isthmus_bench.starvation import StolenTime
from isthmus_bench.traces import Trace

__all__ = ["DEVICE", "Lane", "frames_of"]

DEVICE = "isthmus_bench.adapt.device"
_WARM_UP_MBPS = 100.0
_LEAST_MBPS = 0.5  # to settle on, where a trace has less in the mean
_SETTLING = 3  # frames by which an agent learns the link before the trace begins


class Lane:
    """Three processes that end with its context; one run at a time."""

    def __init__(self, built: Built, scene: Scene) -> None:
        self._built, self._scene = built, scene
        self._shot_s = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            cloud = stack.enter_context(CloudProcess(self._built.bundle.path))
            self.cloud = cloud.address
            self.relay = stack.enter_context(Relay(cloud.address))
            self._edge = stack.enter_context(EdgeProcess(self._flags(), module=DEVICE))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def run(self, policy: Policy, trace: Trace, repeat: int) -> Run:
        """One policy with a fresh agent while the trace is played from its beginning."""
        self.open(policy, max(trace.mean_mbps(), _LEAST_MBPS), trace.rtt_ms)
        self.relay.play(trace)
        stolen, before_bytes = StolenTime(), self.relay.carried_bytes()["uplink"]
        self.start({"frames": self._scene.frames, "fps": self._scene.fps})
        told = self.finish()
        sent_bytes = self.relay.carried_bytes()["uplink"] - before_bytes
        return Run(
            model=self._built.model,
            trace=trace.name,
            policy=policy.name,
            repeat=repeat,
            frames=frames_of(told),
            accepted=told["accepted"],
            lost=told["lost"],
            doubled=told["doubled"],
            switches=len(told["switches"]),
            sent_bytes=sent_bytes,
            device_s=told["device_s"],
            unplanned_s=told["unplanned_s"],
            stolen_share=stolen.share(),
        )

    def open(self, policy: Policy, mbps: float, rtt_ms: float) -> None:
        """A fresh agent that has run every candidate it may use, and knows a link of `mbps`."""
        self.relay.shape(LinkShape.symmetric(_WARM_UP_MBPS, rtt_ms))
        self._edge.do(
            "open",
            cloud=self.relay.address,
            candidate=policy.candidate,
            estimator=EWMA if policy.kind == EWMA else OURS,
        )
        kept = [c.id for c in self._built.manifest.kept]
        warm = self._edge.do("warm-up", candidates=kept if policy.candidate is None else [None])
        self.relay.shape(LinkShape.symmetric(mbps, rtt_ms))
        self.relay.reset()  # so that what it believes of the quick link is forgotten with it
        self._edge.do("settle", frames=_SETTLING, after=warm["connects"])

    def start(self, shot: Mapping[str, Any]) -> float:
        """Let the camera run; when it began, by this machine's monotonic clock."""
        self._shot_s = shot["frames"] / shot["fps"]
        return float(self._edge.do("start", **shot)["begin"])

    def finish(self) -> dict[str, Any]:
        """Wait for the end of the camera's run, and end the agent."""
        told = self._edge.do("finish", busy_s=self._shot_s)
        self._edge.do("close")
        return told

    def cold_start(self, cloud: str) -> dict[str, Any]:
        """An agent's first answer while `cloud` cannot be reached."""
        return self._edge.do("cold-start", cloud=cloud)

    def _flags(self) -> dict[str, object]:
        return {
            "bundle": self._built.bundle.path,
            "items": self._built.items,
            "top-k": self._built.top_k,
            "deadline-ms": self._scene.late_after_ms if self._scene.tell_deadline else 0,
        }


def frames_of(told: Mapping[str, Any]) -> tuple[FrameEnd, ...]:
    """The frames as the device told them."""
    listed: Sequence[Any] = told["frames"]
    return tuple(msgspec.convert(frame, FrameEnd) for frame in listed)
