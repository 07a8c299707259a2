"""What may name a model, a version or a file of a bundle that comes over the network.

Names come from strangers and become names of folders: what is checked here cannot lead out of a
folder, collide with the files of a store, or ask for more room than a bundle may take.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from isthmus.errors import BundleError, ConfigError
from isthmus.manifest import MANIFEST_NAME, FileEntry
from isthmus.signing import SIGNATURE_NAME

MAX_FILES = 10_000
MAX_PATH_BYTES = 512
MAX_PART_BYTES = 255  # of one file's or folder's name: what file systems take

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

__all__ = ["check_files", "check_name", "is_fingerprint", "is_name"]


def is_name(text: str) -> bool:
    """Whether it can be the name of a model or a version: up to 64 letters, digits, ".", "_", "-",
    the first one neither "." nor "-"."""
    return _NAME.fullmatch(text) is not None


def check_name(kind: str, text: str) -> None:
    """ConfigError unless it is a name; `kind` says of what ("model name", "version")."""
    if not is_name(text):
        raise ConfigError(
            f"{kind} {text[:80]!r} cannot be used; take up to 64 letters, digits, '.', '_' or '-', "
            "not beginning with '.' or '-'"
        )


def is_fingerprint(text: str) -> bool:
    """Whether it is a sha256 in hexadecimal digits, lower case."""
    return _SHA256.fullmatch(text) is not None


def check_files(entries: Sequence[FileEntry], max_bytes: int) -> None:
    """BundleError unless all files of a manifest can lie in one folder and are not too much."""
    if len(entries) > MAX_FILES:
        raise BundleError(f"the manifest lists {len(entries)} files; at most {MAX_FILES} are taken")
    for entry in entries:
        _check_path(entry.path)
        _check_content(entry)
    total_bytes = sum(entry.size_bytes for entry in entries)
    if total_bytes > max_bytes:
        raise BundleError(f"the bundle has {total_bytes} bytes; {max_bytes} at most are taken here")
    files = {entry.path for entry in entries}
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    if both := sorted(files & folders):
        raise BundleError(f"{both[0]!r} is a file and a folder in the manifest")


def _check_content(entry: FileEntry) -> None:
    is_possible = entry.size_bytes >= 0 and is_fingerprint(entry.sha256)
    if entry.size_bytes == 0:
        is_possible = entry.sha256 == hashlib.sha256().hexdigest()
    if not is_possible:
        raise BundleError(f"{entry.path}: the manifest has an impossible size or sha256 for it")


def _check_path(path: str) -> None:
    parts = path.split("/")
    fits = len(path.encode(errors="replace")) <= MAX_PATH_BYTES and path.isprintable()
    if (
        not fits
        or path in {MANIFEST_NAME, SIGNATURE_NAME}
        or "\\" in path
        or not all(map(_is_part, parts))
    ):
        raise BundleError(f"file name {path[:80]!r} of the manifest cannot be used")


def _is_part(part: str) -> bool:
    """A name of one file or folder that is neither hidden nor "." nor ".."."""
    return bool(part) and not part.startswith(".") and len(part.encode()) <= MAX_PART_BYTES
