"""A bundle version as an application of Ray Serve: names, options, and what is deployed."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from ray import serve

from isthmus_cloud.replicas.calls import release
from isthmus_cloud.replicas.replica import TailReplica, shared_replica
from isthmus_cloud.replicas.settings import CALLS, RaySettings
from isthmus_cloud.replicas.spec import Spec

DEPLOYMENT = "tails"  # what the one deployment of an application is called
LOOK_BACK_S = 5.0  # over which calls under way are averaged; Serve's own 30 s follow too late
_FRONT_ENDS = 4  # whose calls a replica takes at once before others wait at the front ends
_STRANGE = re.compile(r"[^A-Za-z0-9_-]")

__all__ = [
    "DEPLOYMENT",
    "application",
    "build",
    "exported_name",
    "name_of",
    "options",
]


def name_of(spec: Spec | None, settings: RaySettings) -> str:
    """What front ends call an application that they make: whatever tells one from another is in it,
    so that a version, a release or other settings run beside those before."""
    text = msgspec.json.encode((spec, options(settings), settings.models, release()))
    return f"{_stem(spec)}-{hashlib.sha256(text).hexdigest()[:8]}"


def exported_name(spec: Spec) -> str:
    """What `isthmus export ray` calls it; its options are those of whoever deploys it."""
    return _stem(spec)


def options(settings: RaySettings) -> dict[str, Any]:
    """Of a deployment, as Ray Serve names them."""
    scale: dict[str, Any] = {"num_replicas": settings.least}
    if settings.most > settings.least:
        scale = {
            "autoscaling_config": {
                "min_replicas": settings.least,
                "max_replicas": settings.most,
                "target_ongoing_requests": settings.target,
                "upscale_delay_s": settings.up_s,
                "downscale_delay_s": settings.down_s,
                "look_back_period_s": LOOK_BACK_S,
                "metrics_interval_s": 1.0,  # Serve compares it with the one above
            }
        }
    return {
        **scale,
        "max_ongoing_requests": CALLS * _FRONT_ENDS,
        "health_check_period_s": 2,
        "health_check_timeout_s": max(10.0, settings.hang_s / 2),
        "graceful_shutdown_timeout_s": settings.drain_s,
        "ray_actor_options": {"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        "request_router_config": {
            "request_router_class": "isthmus_cloud.replicas.router.PinningRouter"
        },
    }


def application(spec: Spec | None, settings: RaySettings) -> Any:
    """An application of Ray Serve, of replicas that hold `spec`, or without one whatever they are
    asked for."""
    if spec is None:
        return _deployment(shared_replica(settings.models)).options(**options(settings)).bind()
    bound = _deployment(TailReplica).options(**options(settings))
    return bound.bind(msgspec.json.encode(spec))


def build(args: Mapping[str, Any]) -> Any:
    """For a Serve config (`isthmus export ray`): `args` are the fields of a `Spec`; options are the
    config's."""
    spec = msgspec.convert(dict(args), Spec)
    return _deployment(TailReplica).bind(msgspec.json.encode(spec))


def _deployment(replica: type) -> Any:
    return serve.deployment(replica, name=DEPLOYMENT)


def _stem(spec: Spec | None) -> str:
    if spec is None:
        return "isthmus-shared"
    cuts = "".join(f"-{_STRANGE.sub('-', cut)}" for cut in spec.cuts)
    return f"isthmus-{spec.fingerprint[:12]}{cuts}"
