"""Writes a bundle so that a reader sees all of it or nothing."""

import shutil
from pathlib import Path

from isthmus import BundleError, encode_manifest, sha256_of
from isthmus.manifest import MANIFEST_NAME
from isthmus_partitioner.folders import whole_folder
from isthmus_partitioner.planning.records import Plan

__all__ = ["write_bundle"]


def write_bundle(plan: Plan, parts: Path, out: Path) -> Path:
    """Put the plan's manifest and its files (found below `parts`) into the directory `out`.

    Each file is compared with the manifest's sha256. An older bundle there is replaced;
    BundleError if `out` is anything else, if a part is missing or was changed, or if there is no
    room.
    """
    with whole_folder(out, MANIFEST_NAME, "bundle") as folder:
        for entry in plan.manifest.files:
            target = folder / entry.path
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(parts / entry.path, target)
            if sha256_of(target) != entry.sha256:
                raise BundleError(
                    f"{parts / entry.path}: changed since the plan was made; "
                    "run `isthmus plan` again"
                )
        (folder / MANIFEST_NAME).write_bytes(encode_manifest(plan.manifest))
    return out
