"""A bundle version as an application of Ray Serve: what is deployed."""

from collections.abc import Mapping
from typing import Any

import msgspec
from ray import serve

from isthmus_cloud.replicas.naming import DEPLOYMENT, options
from isthmus_cloud.replicas.replica import TailReplica, shared_replica
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import Spec

__all__ = ["application", "build"]


def application(spec: Spec | None, settings: RaySettings, version: str) -> Any:
    """An application of Ray Serve, of replicas that hold `spec`, or without one whatever they are
    asked for.

    What is deployed a second time with the same `version` and options keeps its replicas: Serve
    would otherwise give each deploy a version of its own, and replace them.
    """
    given = options(settings) | {"version": version, "_internal": True}
    if spec is None:
        return _deployment(shared_replica(settings.models)).options(**given).bind()
    return _deployment(TailReplica).options(**given).bind(msgspec.json.encode(spec))


def build(args: Mapping[str, Any]) -> Any:
    """For a Serve config (`isthmus export ray`): `args` are the fields of a `Spec`; options are the
    config's."""
    spec = msgspec.convert(dict(args), Spec)
    return _deployment(TailReplica).bind(msgspec.json.encode(spec))


def _deployment(replica: type) -> Any:
    return serve.deployment(replica, name=DEPLOYMENT)
