"""Applications of Ray Serve as a config file, for whoever deploys them in place of a front end.

`serve deploy` takes it, and so does a `RayService` of KubeRay. A front end uses an application of
such a file where it finds the one for its bundle, and never deletes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from isthmus import Bundle, ConfigError
from isthmus.durable_files import write_whole
from isthmus_cloud.replicas.naming import DEPLOYMENT, exported_name, options
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import Spec, specs_of

_HEAD = """\
# Written by `isthmus export ray`, for `serve deploy` or as serveConfigV2 of a RayService. Every
# machine of the cluster needs this release of isthmus[ray], and the bundles at these paths.
"""
_IMPORT_PATH = "isthmus_cloud.replicas.application:build"

__all__ = ["ExportedApplication", "Exporting", "write_serve_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """What is asked of the replicas of every bundle. `paths` says where the bundles lie on the
    cluster, in their order; without any, where they lie here. `max_batch` is `ServiceConfig`'s."""

    settings: RaySettings
    max_batch: int
    paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.settings.address is not None or self.settings.models:
            raise ConfigError("address and models are a front end's; a Serve config has neither")
        if self.max_batch < 1:
            raise ConfigError(f"max_batch is {self.max_batch}; it must be at least 1")
        for path in self.paths:
            if not PurePosixPath(path).is_absolute():
                raise ConfigError(
                    f"{path}: say where the bundle lies from the root (/…); replicas start in "
                    "folders of their own"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedApplication:
    """One of the file's: where its bundle lies on the cluster, and the cuts that it answers."""

    name: str
    path: str
    fingerprint: str
    cuts: tuple[str, ...]


def write_serve_config(
    bundles: Sequence[Bundle], exporting: Exporting, out: Path
) -> tuple[ExportedApplication, ...]:
    """Write the file `out` anew: an application for each bundle, or for each of its tails.

    Raises ConfigError if isthmus[ray] is not installed, if two applications would have one name, or
    if `out` cannot be written.
    """
    if exporting.paths and len(exporting.paths) != len(bundles):
        raise ConfigError(
            f"{len(exporting.paths)} paths for {len(bundles)} bundles; give each its own, or none"
        )
    paths = exporting.paths or tuple(str(bundle.path.absolute()) for bundle in bundles)
    exported = [
        (_exported(bundle, spec), spec)
        for bundle, path in zip(bundles, paths, strict=True)
        for spec in _specs(bundle, path, exporting)
    ]
    applications = tuple(each for each, _ in exported)
    names = [each.name for each in applications]
    for each in applications:
        if names.count(each.name) > 1:
            raise ConfigError(
                f"{each.path}: two applications would be called {each.name}; give each bundle once"
            )
    _write(_config(exported, exporting.settings), out)
    return applications


def _specs(bundle: Bundle, path: str, exporting: Exporting) -> list[Spec]:
    specs = specs_of(bundle, exporting.settings, exporting.max_batch)
    return [msgspec.structs.replace(spec, path=path) for spec in specs]


def _exported(bundle: Bundle, spec: Spec) -> ExportedApplication:
    return ExportedApplication(
        name=exported_name(spec),
        path=spec.path,
        fingerprint=spec.fingerprint,
        cuts=spec.cuts or tuple(cut.id for cut in bundle.manifest.cuts if cut.tail),
    )


def _config(
    exported: Sequence[tuple[ExportedApplication, Spec]], settings: RaySettings
) -> dict[str, Any]:
    """As Ray Serve reads it (`ray.serve.schema.ServeDeploySchema`). Replicas are reached through
    handles: nothing listens for HTTP."""
    return {
        "proxy_location": "Disabled",
        "applications": [
            {
                "name": each.name,
                "route_prefix": None,
                "import_path": _IMPORT_PATH,
                "args": msgspec.to_builtins(spec),
                "deployments": [{"name": DEPLOYMENT, **options(settings)}],
            }
            for each, spec in exported
        ],
    }


def _write(config: dict[str, Any], out: Path) -> None:
    try:
        text = msgspec.yaml.encode(config)
    except ImportError as error:
        raise ConfigError(
            "a Serve config needs PyYAML, which comes with Ray Serve: install isthmus[ray]"
        ) from error
    try:
        write_whole(out, _HEAD.encode() + text)
    except OSError as error:
        raise ConfigError(
            f"{out}: the Serve config cannot be written ({error.strerror}); choose another file"
        ) from error
