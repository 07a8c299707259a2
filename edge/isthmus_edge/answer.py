"""What an agent gives back: one answer a frame, and its running figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from isthmus import ConfigError
from isthmus.session import UpdateOffered
from isthmus_edge.audit.verdicts import AuditStats
from isthmus_edge.events import Event
from isthmus_edge.link import LinkEstimate

__all__ = ["Answer", "Service", "Stats", "Switch", "Timings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one frame went, in ms; None for a step that it did not take.

    `queue_ms` is from acceptance until the device turned to it. `head_ms` is the network up to the
    cut, all of it for a candidate that is local; `encode_ms` from the cut's tensors to bytes.
    `network_ms` is from sending to hearing of the answer, both ways and behind other frames, less
    the time that the cloud had it: there it waited (`cloud_queue_ms`), was decoded, and ran through
    the tail. `rest_ms` is what the device took for the network behind the cut, where the cloud was
    late, gone or refused.

    They do not add up to `Answer.latency_ms`: what is missing is waiting, for the device's thread
    or for a cloud that did not answer, and the encoding of the answer.
    """

    queue_ms: float = 0.0
    head_ms: float | None = None
    encode_ms: float | None = None
    network_ms: float | None = None
    cloud_queue_ms: float | None = None
    cloud_decode_ms: float | None = None
    cloud_tail_ms: float | None = None
    rest_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one frame.

    `outputs` maps output names, in the manifest's order, to arrays as the graph gives them for a
    batch of one (`TensorSpec.graph_shape`); with `answer_top_k`, values that were not
    sent read -inf. `place` says who finished the frame, `candidate` where its head ended, `rung`
    which step of the candidate's ladder was sent (0 is the finest). `latency_ms` counts from
    acceptance to answer, `timings` says where it went. `payload_bytes` is all that was sent for the
    frame.
    """

    sequence: int
    outputs: Mapping[str, NDArray[np.generic]]
    candidate: str
    rung: int
    place: Literal["cloud", "device"]
    latency_ms: float
    payload_bytes: int
    labels: tuple[str, ...]
    timings: Timings = field(default_factory=Timings)

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k greatest values of the first output with their labels, greatest first.

        Fewer if it has fewer. ConfigError unless k is at least 1.
        """
        if k < 1:
            raise ConfigError(f"top({k}): ask for 1 or more")
        row = np.asarray(next(iter(self.outputs.values())), np.float64).reshape(-1)
        best = np.argsort(row, kind="stable")[::-1][:k]
        return [(self._label(int(i)), float(row[i])) for i in best]

    def _label(self, i: int) -> str:
        return self.labels[i] if i < len(self.labels) else f"class {i}"


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of the candidate in use; `at_s` counts from the opening of the agent."""

    at_s: float
    before: str | None
    after: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Who is at the other end of the stream: where, on what its tails run, and what it calls the
    bundle (empty where it has no names for it)."""

    address: str
    provider: str
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """An agent's figures so far. accepted = cloud + device + errors + pending, always.

    Of the errors, `stale` frames were dropped for newer ones, as asked for, and `cancelled` ones
    were taken back by their callers before the device had begun them. `duplicates` are
    answers of the cloud that came for frames that had theirs, or that the device had answered
    meanwhile; they were dropped, which is as it should be. `ended_twice` counts frames that the
    agent itself tried to end again: callers notice nothing, but above 0 it is a defect. `connects`
    counts streams, `sent_again` frames that were sent a second time, and `moves` how often the
    device has left a service for one that was less loaded.

    `candidate` and `rung` are those of the last frame that was not pinned, None before it, and
    `switches` the last 256 changes of that candidate; where `AgentConfig.candidate` pins every
    frame they are what it names, from the start on and without switches. `rate_advice` says what
    would suit the link better while no rung that the agreement floor allows fits it. `audits`
    counts the answers that were compared with the unsplit model's (`AgentConfig.audit_share`),
    `events` are the last 256 things that people should know of: rungs whose agreement has drifted
    below the floor, candidates that this device cannot run or has no memory for. `rss_bytes` is
    what the whole process holds in memory. `service` is who the device is connected to, None while
    it is not; `update` another version of the model that was offered last, and is not used yet.
    """

    accepted: int
    answered_cloud: int
    answered_device: int
    errors: int
    stale: int
    pending: int
    duplicates: int
    connects: int
    sent_again: int
    link_state: str
    link: LinkEstimate | None
    candidate: str | None
    rung: int | None
    rate_advice: str | None
    device_scale: float
    switches: tuple[Switch, ...]
    audits: AuditStats = field(default_factory=AuditStats)
    events: tuple[Event, ...] = ()
    ended_twice: int = 0
    cancelled: int = 0
    rss_bytes: int = 0
    service: Service | None = None
    update: UpdateOffered | None = None
    moves: int = 0
