"""By which name a Triton server knows a part of a bundle's tails."""

import re
from pathlib import PurePosixPath

from isthmus import Bundle

SHORT = 12  # digits of a fingerprint that tell bundles apart

__all__ = ["model_name"]

_ODD = re.compile(r"[^A-Za-z0-9_.-]")  # what a folder's name had better not hold


def model_name(bundle: Bundle, part: str) -> str:
    """For instance "lite0-0a1b2c3d4e5f-tail-0"; `part` is the file's name in the manifest.

    The fingerprint stands in it, so that a server that holds the parts of another version does not
    answer for this one.
    """
    stem = PurePosixPath(part).name.removesuffix(".onnx")
    words = (bundle.manifest.model_name, bundle.fingerprint[:SHORT], stem)
    return "-".join(_ODD.sub("_", word) for word in words)
