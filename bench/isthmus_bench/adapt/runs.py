"""What one run of one policy gave: plain records, which finished runs are kept as, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from isthmus import Candidate, Manifest, Picture, Raw
from isthmus_bench.comparison import row_name

__all__ = ["EWMA", "OURS", "FrameEnd", "Kind", "Policy", "Run", "Scene", "policies_of"]

OURS, EWMA = "ours", "ewma"

Kind = Literal["ours", "ewma", "static"]


@dataclass(frozen=True, slots=True)
class Scene:
    """What the camera does: `local_ms` is what the board's own network takes, by the plan."""

    local_ms: float
    fps: float
    late_after_ms: float
    seconds: float
    tell_deadline: bool

    @property
    def frames(self) -> int:
        """Of one run."""
        return max(1, int(self.seconds * self.fps))

    @property
    def period_ms(self) -> float:
        """From tick to tick."""
        return 1e3 / self.fps


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A way to answer frames that is compared with the others.

    `candidate` is what a static policy sends every frame as; `title` is for people. Only what
    meets the plan's agreement floor may be called best (`counts`).
    """

    name: str
    kind: Kind
    title: str
    candidate: str | None = None
    counts: bool = True


class FrameEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a frame of the camera ended.

    `tick_s` counts from the first frame on; `latency_ms` from the tick to the answer, None for a
    frame that was dropped or failed, with the reason in `error`.
    """

    tick_s: float
    latency_ms: float | None
    candidate: str = ""
    place: Literal["cloud", "device", "nowhere"] = "nowhere"
    payload_bytes: int = 0
    error: str = ""

    @property
    def end_s(self) -> float | None:
        """When its answer came."""
        return None if self.latency_ms is None else self.tick_s + self.latency_ms / 1e3


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on one trace.

    `lost`: frames that were accepted and never ended; `doubled`: answers beyond the first.
    `switches` of the candidate in use. `sent_bytes` is all that the link carried from the device to
    the cloud meanwhile: also probes, heartbeats, frames that got no answer, and the framing of the
    transport. `device_s` is the board's CPU time, of which `unplanned_s` went into work whose time
    the plan does not know. `stolen_share` of this machine's time went to others meanwhile.
    """

    model: str
    trace: str
    policy: str
    repeat: int
    frames: tuple[FrameEnd, ...]
    accepted: int
    lost: int
    doubled: int
    switches: int
    sent_bytes: int
    device_s: float
    unplanned_s: float
    stolen_share: float = 0.0

    @property
    def payload_bytes(self) -> int:
        """What was sent for the frames that were answered, as the agent counts it."""
        return sum(frame.payload_bytes for frame in self.frames)


def policies_of(manifest: Manifest) -> tuple[Policy, ...]:
    """Ours, the EWMA one, every kept candidate as it is, and the baselines whether kept or not."""
    fixed = [c for c in manifest.candidates if c.kept or c.is_local or _is_baseline(c)]
    return (
        Policy(name=OURS, kind="ours", title="ours"),
        Policy(name=EWMA, kind="ewma", title="EWMA estimator, no uncertainty"),
        *(_static(candidate, manifest.agreement_floor) for candidate in _ordered(fixed)),
    )


def _static(candidate: Candidate, floor: float) -> Policy:
    return Policy(
        name=candidate.id,
        kind="static",
        title=row_name(candidate),
        candidate=candidate.id,
        counts=candidate.figures.agreement >= floor,
    )


def _ordered(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: c.figures.device_ms, reverse=True)


def _is_baseline(candidate: Candidate) -> bool:
    """The raw picture, and the picture as a JPEG."""
    match candidate.encodings:
        case (Raw(),) | (Picture(format="jpeg"),):
            return candidate.precision == "none"
        case _:
            return False
