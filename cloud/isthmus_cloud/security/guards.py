"""Guards that ask: for a token, for a certificate, or for both; and what may be done without."""

import hmac
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from isthmus_cloud.security.allowances import Allowances
from isthmus_cloud.security.identity import (
    ANYBODY,
    Caller,
    DeniedError,
    Identity,
    OpenDoor,
    Role,
)
from isthmus_cloud.security.names import is_name
from isthmus_cloud.security.tokens import Entry, Token, digest_of

TOKEN_CHARACTERS = 256  # a longer one is none of ours
NOTHING_SHOWN = (
    "this service asks for a token: send it as the metadata `authorization: Bearer TOKEN`"
)
NOT_VALID = "this token is not valid here: it is unknown, over, or was taken back"
NOT_ITS_OWN = "the token and the certificate are not of the same identity"
NO_NAME = "the certificate has no name that can stand for an identity"
NO_OPERATOR = (
    "this is for operators, and who calls is a device here; call with the token or the certificate "
    "of an operator"
)
NO_OPERATORS = (
    "this is for operators, and this service knows none, whoever calls: start it with --tokens "
    "FILE (`isthmus tokens add NAME --file FILE --role operator`)"
)

__all__ = ["CertificateGuard", "DeviceDoor", "TokenGuard"]


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class TokenGuard:
    """Lets in who has a token of the tokens file, and holds each identity to its limits.

    With `certificates` TLS has verified a certificate of every caller, and the token's identity
    must be among the names in it. What the file says is given by `use`, at any time.

    A token is looked up by its sha256, and compared in constant time: what an attacker could learn
    from times is about the hash of what he sent, which he knows and cannot steer.
    """

    def __init__(
        self,
        *,
        certificates: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._certificates = certificates
        self._now = now
        self._allowances = Allowances(clock)
        self._by_digest: Mapping[str, tuple[Entry, Token]] = {}
        self._by_credential: Mapping[str, tuple[Entry, Token | None]] = {}
        self._by_name: Mapping[str, Entry] = {}

    def use(self, entries: Sequence[Entry]) -> None:
        """From now on these may come in. From any thread."""
        valid = [entry for entry in entries if not entry.revoked]
        digests = {token.sha256: (each, token) for each in valid for token in each.tokens}
        self._by_credential = dict(_credentials(valid))
        self._by_name = {entry.name: entry for entry in valid if entry.certificate}
        self._by_digest = digests

    def admit(self, caller: Caller, role: Role) -> Identity:
        """See `Guard.admit`."""
        identity = self._identified(caller)
        if role == "operator" and identity.role != "operator":
            raise DeniedError(NO_OPERATOR, "role", identity=identity.name)
        return identity

    def holds(self, identity: Identity) -> bool:
        """See `Guard.holds`."""
        return self._entry(identity) is not None

    def stream(self, identity: Identity) -> None:
        """See `Guard.stream`."""
        self._allowances.stream(identity)

    def stream_ended(self, identity: Identity) -> None:
        """See `Guard.stream_ended`."""
        self._allowances.stream_ended(identity)

    def frame(self, identity: Identity) -> None:
        """See `Guard.frame`; its limits are those of today, not of when its stream began."""
        entry = self._entry(identity)
        if entry is None:
            raise DeniedError(NOT_VALID, "token", identity=identity.name)
        self._allowances.frame(entry.identity(identity.credential))

    def frame_ended(self, identity: Identity) -> None:
        """See `Guard.frame_ended`."""
        self._allowances.frame_ended(identity)

    def _identified(self, caller: Caller) -> Identity:
        given = _bearer(caller.metadata)
        if given is None:
            return self._certified(caller.certificate_names)
        entry, token = self._found(given)
        if self._certificates and entry.name not in caller.certificate_names:
            raise DeniedError(NOT_ITS_OWN, "certificate", identity=entry.name)
        return entry.identity(token.id)

    def _found(self, given: str) -> tuple[Entry, Token]:
        digest = digest_of(given)
        found = self._by_digest.get(digest)
        kept = found[1].sha256 if found else _NOBODYS
        if not hmac.compare_digest(kept, digest) or found is None:
            raise DeniedError(NOT_VALID, "token")
        if found[1].expired(self._now()):
            raise DeniedError(NOT_VALID, "token", identity=found[0].name)
        return found

    def _certified(self, names: Sequence[str]) -> Identity:
        for name in names if self._certificates else ():
            if entry := self._by_name.get(name):
                return entry.identity(_certificate_of(entry))
        raise DeniedError(NOTHING_SHOWN, "token")

    def _entry(self, identity: Identity) -> Entry | None:
        """Its own today; None where its credential does not hold any more, or is another's."""
        entry, token = self._by_credential.get(identity.credential, (None, None))
        if token is not None and token.not_after is not None and token.expired(self._now()):
            return None
        return entry if entry is not None and entry.name == identity.name else None


class CertificateGuard(OpenDoor):
    """Lets in whose certificate TLS has verified, as a device with the first name in it.

    Who is an operator, and what each may have, a tokens file says: see `TokenGuard`.
    """

    def admit(self, caller: Caller, role: Role) -> Identity:
        """See `Guard.admit`."""
        name = next(filter(is_name, caller.certificate_names), None)
        if name is None:
            raise DeniedError(NO_NAME, "certificate")
        if role == "operator":
            raise DeniedError(NO_OPERATORS, "role", identity=name)
        return Identity(name=name, credential="certificate")


class DeviceDoor(OpenDoor):
    """Lets everybody in as a device, and nobody as an operator: for a network where no names are
    asked."""

    def admit(self, caller: Caller, role: Role) -> Identity:
        """See `Guard.admit`."""
        if role == "operator":
            raise DeniedError(NO_OPERATORS, "role")
        return Identity(name=ANYBODY.name)


def _bearer(metadata: Mapping[str, str]) -> str | None:
    """The token of the call, None without; DeniedError if there is something else in its place."""
    value = metadata.get("authorization")
    if value is None:
        return None
    scheme, _, token = value.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS:
        raise DeniedError(NOTHING_SHOWN, "token")
    return token


def _credentials(entries: Sequence[Entry]) -> Iterator[tuple[str, tuple[Entry, Token | None]]]:
    for entry in entries:
        if entry.certificate:
            yield _certificate_of(entry), (entry, None)
        for token in entry.tokens:
            yield token.id, (entry, token)


def _certificate_of(entry: Entry) -> str:
    return f"certificate {entry.name}"


_NOBODYS = "0" * 64
