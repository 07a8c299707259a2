"""Writes a bundle so that a reader sees all of it or nothing."""

import os
import secrets
import shutil
from pathlib import Path

from isthmus import BundleError, encode_manifest, sha256_of
from isthmus.manifest import MANIFEST_NAME
from isthmus_partitioner.planning.plan import Plan

__all__ = ["write_bundle"]


def write_bundle(plan: Plan, parts: Path, out: Path) -> Path:
    """Put the plan's manifest and its files (found below `parts`) into the directory `out`.

    Everything is written beside `out` under a temporary name, synced, compared with the
    manifest's sha256, then renamed. An older bundle there is replaced; BundleError if `out` is
    anything else, if a part is missing or was changed, or if there is no room.
    """
    _check_target(out)
    partial = out.parent / f".{out.name}.{secrets.token_hex(4)}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        _fill(plan, parts, partial)
        _replace(out, partial)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(
            f"{out}: the bundle cannot be written ({reason}: {error.filename or partial}); "
            "make room, or choose another directory"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _check_target(out: Path) -> None:
    if out.is_dir():
        is_ours = (out / MANIFEST_NAME).is_file() or not any(out.iterdir())
    else:
        is_ours = not out.exists()
    if not is_ours:
        raise BundleError(
            f"{out}: exists and is not a bundle (it has no {MANIFEST_NAME}); "
            "choose another directory, or remove it"
        )


def _fill(plan: Plan, parts: Path, partial: Path) -> None:
    for entry in plan.manifest.files:
        target = partial / entry.path
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(parts / entry.path, target)
        if sha256_of(target) != entry.sha256:
            raise BundleError(
                f"{parts / entry.path}: changed since the plan was made; run `isthmus plan` again"
            )
        _sync(target)
    manifest = partial / MANIFEST_NAME
    manifest.write_bytes(encode_manifest(plan.manifest))
    _sync(manifest)
    for folder in (*(path for path in partial.iterdir() if path.is_dir()), partial):
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(out: Path, partial: Path) -> None:
    """Rename; a directory cannot be renamed over a full one, so the old steps aside first."""
    if not out.exists():
        partial.rename(out)
        _sync(out.parent)
        return
    old = partial.with_suffix(".old")
    out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        old.rename(out)
        raise
    _sync(out.parent)
    shutil.rmtree(old, ignore_errors=True)
