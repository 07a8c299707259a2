"""Happenings as a service would tell them; a test says what matters to it."""

from typing import Any

from isthmus_cloud.telemetry.happenings import (
    Activated,
    Audited,
    BatchRun,
    CallLost,
    FrameDone,
    Happening,
    LinkReported,
    Refused,
    Retired,
    StreamClosed,
    StreamOpened,
    Unloaded,
)

MODEL = {"model": "lite0", "version": "v1"}


def done(**changes: Any) -> FrameDone:
    """An answered frame of the candidate "cut-16" of lite0 v1."""
    usual: dict[str, Any] = {
        **MODEL,
        "identity": "camera-7",
        "session": "5ad0c3",
        "sequence": 1,
        "candidate": "cut-16",
        "rung": 2,
        "outcome": "answered",
        "payload_bytes": 3000,
        "answer_bytes": 400,
        "batch": 4,
        "received_ns": 10**9,
        "queue_ms": 2.0,
        "decode_ms": 1.0,
        "run_ms": 8.0,
        "total_ms": 12.0,
    }
    return FrameDone(**(usual | changes))


def ran(**changes: Any) -> BatchRun:
    """A batch of four frames of two devices."""
    usual: dict[str, Any] = {
        **MODEL,
        "part": "cloud/tail-1.onnx",
        "provider": "CPUExecutionProvider",
        "size": 4,
        "clients": 2,
        "run_ms": 8.0,
    }
    return BatchRun(**(usual | changes))


def opened(**changes: Any) -> StreamOpened:
    usual: dict[str, Any] = {
        **MODEL,
        "identity": "camera-7",
        "session": "5ad0c3",
        "peer": "ipv4:10.0.0.7:40000",
        "resumed": False,
    }
    return StreamOpened(**(usual | changes))


def closed(**changes: Any) -> StreamClosed:
    usual: dict[str, Any] = {
        **MODEL,
        "identity": "camera-7",
        "session": "5ad0c3",
        "why": "the device has left",
    }
    return StreamClosed(**(usual | changes))


def refused(why: str = "token", **changes: Any) -> Refused:
    return Refused(**({"identity": "", "why": why, "peer": "ipv4:10.0.0.9:1"} | changes))


def audited(**changes: Any) -> Audited:
    usual: dict[str, Any] = {
        **MODEL,
        "session": "5ad0c3",
        "compared": True,
        "agrees": True,
        "divergence": 0.01,
    }
    return Audited(**(usual | changes))


def activated(version: str = "v1", previous: str = "") -> Activated:
    return Activated(
        model="lite0", version=version, previous=previous, candidates=("input", "cut-16")
    )


def unloaded(identity: str = "anna") -> Unloaded:
    return Unloaded(model="lite0", version="v1", identity=identity)


def retired(version: str = "v1") -> Retired:
    return Retired(model="lite0", version=version)


def call_lost(frames: int = 8) -> CallLost:
    return CallLost(model="lite0", version="v1", frames=frames, why="the replica died")


def one_of_each() -> list[Happening]:
    """Every kind that there is, in an order in which they may come."""
    link = LinkReported(identity="camera-7", session="5ad0c3", bandwidth_bps=1e7, rtt_ms=20.0)
    usual = (activated(), opened(), link, ran(), done(), audited(), closed())
    return [*usual, refused(), call_lost(), unloaded(), retired()]
