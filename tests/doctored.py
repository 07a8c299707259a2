"""The tiny bundle with a ladder, for tests of the guard: honest, or damaged in one of two ways.

The cut `cut` has two rungs, of which the plan says that both agree always. It is by far the fastest
way to an answer, then `input-raw`, then `local`.
"""

import shutil
from pathlib import Path
from typing import Literal

import msgspec
import onnx
from tests.tinybundle import FINE, _entry, _tail_1

from isthmus import Candidate, Cut, Manifest, Rung, Symbols, encode_manifest, open_bundle

Damage = Literal["none", "coarse rung", "tail"]

HONEST = Symbols(levels=256, step=1 / 24, zero_point=5)
DAMAGED = Symbols(levels=16, step=16.0, zero_point=1)  # all values fall on one symbol or two
_TAIL = "cloud/tail-2.onnx"  # of the cut alone

__all__ = ["Damage", "build_doctored_bundle"]


def build_doctored_bundle(tiny_bundle: Path, directory: Path, damage: Damage) -> Path:
    """Write the bundle into `directory`, which must not exist, and return it."""
    shutil.copytree(tiny_bundle, directory)
    manifest = open_bundle(directory, "cloud").manifest
    cuts, files = manifest.cuts, [file.path for file in manifest.files]
    if damage == "tail":
        onnx.save(_tail_1(seed=1), directory / _TAIL)
        cuts, files = tuple(map(_with_own_tail, cuts)), [*files, _TAIL]
    coarse = DAMAGED if damage == "coarse rung" else HONEST
    changed = msgspec.structs.replace(
        manifest,
        candidates=(_local(manifest), _input(manifest), _cut(manifest, (FINE, coarse))),
        cuts=cuts,
        files=tuple(_entry(directory, file) for file in files),
    )
    (directory / "bundle.json").write_bytes(encode_manifest(changed))
    return directory


def _with_own_tail(cut: Cut) -> Cut:
    """What the inputs go through whole stays as it is: answers are compared with it."""
    if cut.id != "cut":
        return cut
    return msgspec.structs.replace(cut, tail=(cut.tail[0], _TAIL))


def _local(manifest: Manifest) -> Candidate:
    """So slow that the cloud is sooner, however busy the machine of the tests is."""
    return _slowed(manifest.local, 6_000.0)


def _input(manifest: Manifest) -> Candidate:
    """Not what the policy prefers while it trusts the cut."""
    return _slowed(manifest.candidate("input-raw"), 1_000.0)


def _slowed(candidate: Candidate, encode_ms: float) -> Candidate:
    figures = msgspec.structs.replace(candidate.figures, encode_ms=encode_ms)
    rung = msgspec.structs.replace(candidate.rungs[0], figures=figures)
    return msgspec.structs.replace(candidate, rungs=(rung,))


def _cut(manifest: Manifest, ladder: tuple[Symbols, ...]) -> Candidate:
    known = manifest.candidate("cut-256")
    figures = msgspec.structs.replace(known.figures, edge_ms=1.0)
    sizes = (510, 250)
    rungs = tuple(
        Rung(
            encodings=(encoding,),
            figures=msgspec.structs.replace(
                figures, payload_bytes=size, payload_bytes_p95=size * 5 // 4
            ),
        )
        for encoding, size in zip(ladder, sizes, strict=True)
    )
    return msgspec.structs.replace(known, id="cut", rungs=rungs, chosen=1)
