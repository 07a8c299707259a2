"""`isthmus export`: what a bundle's tails look like to servers of other makers."""

import argparse
from pathlib import Path

from isthmus import ConfigError, open_bundle
from isthmus_cli.console import print_json
from isthmus_cli.ray_flags import add_replica_flags, given_ray_flags, replica_settings
from isthmus_cloud import ServiceConfig
from isthmus_cloud.engines.triton_repository import ExportedModel, write_repository
from isthmus_cloud.replicas.exporting import ExportedApplication, Exporting, write_serve_config

DESCRIPTION = """\
Write the tails of bundles for another server to run.

`triton` makes a model repository of their parts, or adds them to one: each part is a
model with its configuration. A service that is started with `--engine triton://HOST:PORT`
then has them run there. Names hold the bundle's fingerprint, so several bundles and
versions may lie in one repository, and none answers for another.

`ray` writes a config of Ray Serve with an application for each bundle, which a cluster
deploys: `serve deploy`, or a RayService of KubeRay. A service that is started with
`--engine ray --ray-address` there uses it and lets it be when it ends; without one it
makes applications of its own, which go with the last service that uses them. A config
stands for all that is deployed by file: name every bundle that should run.
"""
EXAMPLES = """\
  isthmus export triton lite0.bundle --out models
  tritonserver --model-repository models     # where Triton is installed
  isthmus cloud lite0.bundle --engine triton://127.0.0.1:8001

  isthmus export ray lite0.bundle --out serve.yaml --ray-replicas 2:8
  serve deploy serve.yaml                    # on the machine of the cluster's head
  isthmus cloud lite0.bundle --engine ray --ray-address auto
"""
TRITON, RAY = "triton", "ray"

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add(
        "form",
        choices=[TRITON, RAY],
        metavar="FORM",
        help="triton for NVIDIA's Triton server, ray for Ray Serve",
    )
    add(
        "bundle",
        type=Path,
        nargs="+",
        metavar="BUNDLE",
        help="directory that `isthmus build` wrote; ray takes several",
    )
    add(
        "--out",
        type=Path,
        required=True,
        metavar="PATH",
        help="triton: the model repository, made if need be, other models in it stay; ray: the "
        "file, written anew",
    )
    add("--json", action="store_true", help="print what was written as JSON")
    _add_ray(parser)


def _add_ray(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("replicas (ray)", "What each application of the config has.")
    add = group.add_argument
    add(
        "--bundle-path",
        action="append",
        default=[],
        metavar="PATH",
        help="where the bundle lies on every machine of the cluster (default: where it lies here); "
        "of several bundles once for each, in their order",
    )
    add_replica_flags(add)
    add(
        "--provider",
        metavar="NAME",
        help="as of `isthmus cloud`, on the replicas (default auto)",
    )
    add(
        "--max-batch",
        type=int,
        metavar="N",
        help="frames of a batch at most; the number that the services have (default "
        f"{_default_batch()})",
    )


def run(options: argparse.Namespace) -> int:
    """Write, and print what."""
    return _run_ray(options) if options.form == RAY else _run_triton(options)


def _run_triton(options: argparse.Namespace) -> int:
    _check_triton(options)
    (folder,) = options.bundle
    models = write_repository(open_bundle(folder, "cloud"), options.out)
    if options.json:
        print_json({"repository": str(options.out), "models": [_listed(each) for each in models]})
        return 0
    width = max(len(each.name) for each in models)
    for each in models:
        state = "written" if each.is_new else "is there already"
        print(f"{each.name:<{width}}  {each.size_bytes / 1e6:7.2f} MB  {state}  ({each.part})")
    print(
        f"\n{len(models)} models in {options.out}; let Triton load them, then: "
        f"isthmus cloud {folder} --engine triton://HOST:8001"
    )
    return 0


def _check_triton(options: argparse.Namespace) -> None:
    """Nothing was asked for that only the other form has."""
    given = given_ray_flags(options)
    for flag, value in (
        ("--bundle-path", options.bundle_path),
        ("--provider", options.provider),
        ("--max-batch", options.max_batch),
    ):
        if value:
            given.append(flag)
    if given:
        raise ConfigError(f"{given[0]} is for replicas of Ray Serve (`isthmus export ray`)")
    if len(options.bundle) > 1:
        raise ConfigError("triton takes one BUNDLE at a time; the others' models stay beside it")


def _run_ray(options: argparse.Namespace) -> int:
    options.provider = options.provider or "auto"
    exporting = Exporting(
        settings=replica_settings(options),
        max_batch=_default_batch() if options.max_batch is None else options.max_batch,
        paths=tuple(options.bundle_path),
    )
    bundles = [open_bundle(folder, "cloud") for folder in options.bundle]
    applications = write_serve_config(bundles, exporting, options.out)
    if options.json:
        listed = [_application(each) for each in applications]
        print_json({"config": str(options.out), "applications": listed})
        return 0
    width = max(len(each.name) for each in applications)
    for each in applications:
        print(f"{each.name:<{width}}  {', '.join(each.cuts)}  ({each.path})")
    print(
        f"\n{_counted(len(applications))} in {options.out}; on the machine of the cluster's head: "
        f"serve deploy {options.out}, then: isthmus cloud {options.bundle[0]} --engine ray "
        "--ray-address HOST:6379" + (" --ray-per-tail" if options.ray_per_tail else "")
    )
    return 0


def _counted(count: int) -> str:
    return f"{count} application" + ("s" if count != 1 else "")


def _default_batch() -> int:
    return ServiceConfig(bundle=Path()).max_batch


def _listed(model: ExportedModel) -> dict[str, str | int | bool]:
    return {
        "name": model.name,
        "part": model.part,
        "size_bytes": model.size_bytes,
        "is_new": model.is_new,
    }


def _application(each: ExportedApplication) -> dict[str, str | list[str]]:
    return {
        "name": each.name,
        "path": each.path,
        "fingerprint": each.fingerprint,
        "cuts": list(each.cuts),
    }
