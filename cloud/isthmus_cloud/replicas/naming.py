"""What an application of Ray Serve is called, and its options."""

import hashlib
import re
from typing import Any

import msgspec

from isthmus_cloud.replicas.calls import release
from isthmus_cloud.replicas.settings import CALLS, RaySettings
from isthmus_cloud.replicas.spec import Spec

DEPLOYMENT = "tails"  # what the one deployment of an application is called
LOOK_BACK_S = 5.0  # over which calls under way are averaged; Serve's own 30 s follow too late
_FRONT_ENDS = 4  # whose calls a replica takes at once before others wait at the front ends
_EXPORTED = "isthmus-"  # a fingerprint follows
_MADE = "isthmus-auto-"
_STRANGE = re.compile(r"[^A-Za-z0-9_-]")

__all__ = ["DEPLOYMENT", "exported_name", "is_made", "made_name", "options"]


def made_name(spec: Spec | None, settings: RaySettings) -> str:
    """What front ends call an application that they make, without a spec one that holds whatever
    is asked for: all that tells one from another is in it, so that a version, a release or other
    settings run beside those before."""
    text = msgspec.json.encode((spec, options(settings), settings.models, release()))
    stem = "shared" if spec is None else _stem(spec)
    return f"{_MADE}{stem}-{hashlib.sha256(text).hexdigest()[:8]}"


def exported_name(spec: Spec) -> str:
    """What `isthmus export ray` calls it; its options are those of whoever deploys it."""
    return _EXPORTED + _stem(spec)


def is_made(name: str) -> bool:
    """Whether front ends have made it, who then delete it, too."""
    return name.startswith(_MADE)


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


def _stem(spec: Spec) -> str:
    return spec.fingerprint[:12] + "".join(f"-{_plain(cut)}" for cut in spec.cuts)


def _plain(cut: str) -> str:
    """With letters that may stand in a name; two cuts stay two."""
    plain = _STRANGE.sub("-", cut)
    return plain if plain == cut else f"{plain}-{hashlib.sha256(cut.encode()).hexdigest()[:4]}"
