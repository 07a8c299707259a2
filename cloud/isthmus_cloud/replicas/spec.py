"""What the replicas of one deployment hold: tails of a bundle, and how they are run."""

import hashlib

import msgspec

from isthmus import Bundle, Manifest
from isthmus_cloud.replicas.calls import release
from isthmus_cloud.replicas.settings import RaySettings

__all__ = ["Spec", "narrowed", "spec_id", "specs_of"]


class Spec(msgspec.Struct, frozen=True):
    """The tails of these `cuts` (none named: all) of a bundle that lies on the replica's disk, and
    the release of Isthmus that must run there."""

    path: str
    fingerprint: str
    release: str
    engine: str
    provider: str
    threads: int
    max_batch: int
    hang_s: float
    cuts: tuple[str, ...] = ()


def spec_id(spec: Spec) -> str:
    """Tells it from every other: SHA-256 in hex of all that is in it."""
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()


def specs_of(bundle: Bundle, settings: RaySettings, max_batch: int) -> list[Spec]:
    """Of one deployment for all tails of the bundle, or of one for each."""
    whole = Spec(
        path=str(bundle.path.absolute()),
        fingerprint=bundle.fingerprint,
        release=release(),
        engine=settings.engine,
        provider=settings.provider,
        threads=settings.threads,
        max_batch=max_batch,
        hang_s=settings.hang_s,
    )
    if not settings.per_tail:
        return [whole]
    cuts = [cut.id for cut in bundle.manifest.cuts if cut.tail]
    return [msgspec.structs.replace(whole, cuts=(cut,)) for cut in cuts]


def narrowed(manifest: Manifest, spec: Spec) -> Manifest:
    """The manifest, of the spec's cuts alone."""
    if not spec.cuts:
        return manifest
    return msgspec.structs.replace(
        manifest,
        cuts=tuple(cut for cut in manifest.cuts if cut.id in spec.cuts),
        candidates=tuple(each for each in manifest.candidates if each.cut in spec.cuts),
    )
