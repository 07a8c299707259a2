"""What a service says is current, and what of it is believed: nothing before it was checked.

First the signature, where keys are configured, then the fingerprint, the format, names and sizes.
What a service says beyond its manifest is for people to read.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from isthmus import BundleError, FileEntry, WireError, decode_manifest
from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.bundle_names import check_files, is_fingerprint, is_name
from isthmus.signing import SIGNATURE_BYTES

MAX_BUNDLE_BYTES = 16 * 1024**3  # as a store takes

__all__ = ["MAX_BUNDLE_BYTES", "Half", "Offer", "Verifier"]


class Verifier(Protocol):
    """Who has signed a manifest; `isthmus.signing.TrustedKeys` is one."""

    def verify(self, manifest: bytes, signature: bytes | None, where: str) -> None:
        """BundleError unless it is somebody whose bundles are taken."""


@dataclass(frozen=True, slots=True)
class Half:
    """A device's half of one bundle, as a manifest that was checked lists it."""

    manifest: bytes
    signature: bytes | None
    fingerprint: str
    entries: tuple[FileEntry, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(entry.size_bytes for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Offer:
    """The active version, as a service tells of it.

    WireError for what can be no name and no fingerprint: nothing else would be safe to write down.
    `manifest` is empty where the device holds that bundle already.
    """

    name: str
    version: str
    fingerprint: str
    manifest: bytes = b""
    signature: bytes | None = None

    def __post_init__(self) -> None:
        named = is_name(self.name) and is_name(self.version)
        if not named or not is_fingerprint(self.fingerprint):
            raise WireError(
                "the service's name, version or fingerprint of the active bundle is none; is it "
                "`isthmus cloud --store DIR`?"
            )

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name} {self.version} ({self.fingerprint[:12]})"

    def half(self, verify: Verifier | None) -> Half:
        """What of it is for a device; BundleError unless it may be fetched and used."""
        if len(self.manifest) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{self.title}: its manifest is larger than any")
        if self.signature is not None and len(self.signature) != SIGNATURE_BYTES:
            raise BundleError(
                f"{self.title}: its signature has {len(self.signature)} bytes and not "
                f"{SIGNATURE_BYTES}"
            )
        if verify is not None:
            verify.verify(self.manifest, self.signature, self.title)
        if hashlib.sha256(self.manifest).hexdigest() != self.fingerprint:
            raise BundleError(f"{self.title}: the manifest that came has another fingerprint")
        listed = decode_manifest(self.manifest, self.title).files
        check_files(listed, MAX_BUNDLE_BYTES)
        mine = tuple(entry for entry in listed if entry.side != "cloud")
        return Half(self.manifest, self.signature, self.fingerprint, mine)
