"""Happenings as the service notes them, for tests that say only what matters to them."""

from typing import Any

from isthmus_cloud.telemetry import (
    Activated,
    Audited,
    BatchRun,
    FrameDone,
    LinkReported,
    Refused,
    StreamClosed,
    StreamOpened,
)

OF: dict[str, Any] = {"model": "net", "version": "v1"}
DEVICE: dict[str, Any] = {"identity": "cam-1", "session": "5e55"}
PEER = "ipv4:10.0.0.9:4711"

__all__ = [
    "PEER", "activated", "audited", "batch", "closed", "frame", "link", "opened", "refused",
]  # fmt: skip


def frame(candidate: str = "cut-3", outcome: str = "answered", **more: Any) -> FrameDone:
    usual: dict[str, Any] = {
        "sequence": 1, "rung": 0, "payload_bytes": 1000, "answer_bytes": 40, "batch": 1,
        "received_ns": 0, "queue_ms": 2.0, "decode_ms": 1.0, "run_ms": 6.0, "total_ms": 10.0,
    }  # fmt: skip
    return FrameDone(**(OF | DEVICE | usual | {"candidate": candidate, "outcome": outcome} | more))


def opened(**more: Any) -> StreamOpened:
    return StreamOpened(**(OF | DEVICE | {"peer": PEER, "resumed": False} | more))


def closed(why: str = "it went away", **more: Any) -> StreamClosed:
    return StreamClosed(**(OF | DEVICE | {"why": why} | more))


def link(bandwidth_bps: float, rtt_ms: float, **more: Any) -> LinkReported:
    return LinkReported(**(DEVICE | {"bandwidth_bps": bandwidth_bps, "rtt_ms": rtt_ms} | more))


def batch(size: int) -> BatchRun:
    return BatchRun(**OF, part="tail", provider="cpu", size=size, clients=size, run_ms=3.0)


def refused(why: str = "token", **more: Any) -> Refused:
    return Refused(**({"identity": "", "peer": PEER, "why": why} | more))


def audited(*, compared: bool = True, agrees: bool = True) -> Audited:
    return Audited(**OF, session="5e55", compared=compared, agrees=agrees, divergence=0.1)


def activated(version: str = "v1", previous: str = "") -> Activated:
    return Activated(model="net", version=version, previous=previous)
