"""What the replicas of one deployment hold: tails of a bundle, and how they are run."""

import msgspec

from isthmus import Bundle, Manifest
from isthmus_cloud.replicas.settings import RaySettings

__all__ = ["Spec", "narrowed", "specs_of"]


class Spec(msgspec.Struct, frozen=True):
    """The tails of these `cuts` (none named: all) of a bundle that lies on the replica's disk."""

    path: str
    fingerprint: str
    engine: str
    provider: str
    threads: int
    max_batch: int
    hang_s: float
    cuts: tuple[str, ...] = ()


def specs_of(bundle: Bundle, settings: RaySettings, max_batch: int) -> list[Spec]:
    """Of one deployment for all tails of the bundle, or of one for each."""
    whole = Spec(
        path=str(bundle.path.absolute()),
        fingerprint=bundle.fingerprint,
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
