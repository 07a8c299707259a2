"""How a user names one way to answer: a candidate of the plan, or one rung of its ladder."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from isthmus import Candidate, ConfigError, Manifest

__all__ = ["pinned"]


def pinned(
    manifest: Manifest, name: str, refused: Mapping[str, str] = MappingProxyType({})
) -> Candidate:
    """The candidate that ``ID`` or ``ID@RUNG`` names, its `chosen` being the rung to send.

    Raises ConfigError that lists the candidates, or the candidate's rungs; or with the reason why
    its chain is among those `refused` on this device, by id.
    """
    candidate = _named(manifest, name)
    reason = refused.get(manifest.cut_of(candidate).chain)
    if reason is not None:
        raise ConfigError(f"candidate {name!r} cannot be used: {reason}")
    return candidate


def _named(manifest: Manifest, name: str) -> Candidate:
    if any(candidate.id == name for candidate in manifest.candidates):
        return manifest.candidate(name)
    candidate_id, at, rung = name.rpartition("@")
    candidate = manifest.candidate(candidate_id if at else name)
    rungs = [str(number) for number in range(len(candidate.rungs))]
    if rung not in rungs:
        raise ConfigError(
            f"candidate {name!r}: {candidate_id!r} has no rung {rung!r}; it has, from the finest: "
            + ", ".join(rungs)
        )
    return msgspec.structs.replace(candidate, chosen=int(rung))
