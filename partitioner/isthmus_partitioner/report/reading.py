"""A bundle on disk, read by somebody who wants to see it and not to run it."""

import hashlib
from pathlib import Path

from isthmus import BundleError, Manifest, decode_manifest
from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.manifest import MANIFEST_NAME

__all__ = ["read_manifest"]


def read_manifest(bundle: Path) -> tuple[Manifest, str]:
    """The manifest and the bundle's fingerprint; no file but `bundle.json` is looked at.

    Raises BundleError where there is none or it is not valid.
    """
    path = bundle / MANIFEST_NAME
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path}: larger than any manifest; build the bundle again")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{bundle}: no bundle here ({error.strerror}: {MANIFEST_NAME}); "
            "make one with `isthmus build MODEL.onnx --out DIR`"
        ) from error
    return decode_manifest(data, str(path)), hashlib.sha256(data).hexdigest()
