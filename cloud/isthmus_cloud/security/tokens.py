"""Who may come in, as the tokens file says it: one JSON object a line, one line an identity.

A token is 256 random bits, and only its sha256 is kept. A plain hash is enough for that: slow,
salted ones protect what people choose, and nobody finds 256 random bits by trying. So who reads the
file learns names and limits, and cannot come in with them.
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from isthmus import ConfigError
from isthmus_cloud.security.identity import Identity, Role
from isthmus_cloud.security.names import ALLOWED, NAME, is_name

TOKEN_PREFIX = "isthmus_"  # noqa: S105 - by which scanners find tokens in what should hold none
TOKEN_BYTES = 32
MOST = 1_000_000  # streams, frames in flight, frames a second that an identity may be allowed
TOKENS_EACH = 8  # an identity needs two while it changes from one to the next

__all__ = [
    "MOST",
    "Entry",
    "Token",
    "added",
    "decode_tokens",
    "digest_of",
    "encode_tokens",
    "entry_of",
    "limited",
    "new_token",
    "revoked",
    "rotated",
]

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=1, le=MOST)]
Rate = Annotated[float, Meta(gt=0, le=MOST)]


class Token(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One token of an identity: the hash of it, and the moment from which it is not valid."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    not_after: Moment | None = None

    @property
    def id(self) -> str:
        """Enough of the hash to tell tokens apart in lists and logs."""
        return self.sha256[:12]

    def expired(self, now: datetime) -> bool:
        """Whether it is over."""
        return self.not_after is not None and now >= self.not_after


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One identity. With `certificate`, one that TLS has verified and that has this name in it is
    enough: no token is asked. None is no limit of its own."""

    name: Annotated[str, Meta(pattern=NAME)]
    role: Role = "device"
    tokens: Annotated[tuple[Token, ...], Meta(max_length=TOKENS_EACH)] = ()
    certificate: bool = False
    revoked: bool = False
    max_streams: Count | None = None
    max_in_flight: Count | None = None
    max_frames_per_s: Rate | None = None

    def identity(self, credential: str) -> Identity:
        """Who comes with one of its tokens, or its certificate."""
        return Identity(
            name=self.name,
            role=self.role,
            max_streams=self.max_streams,
            max_in_flight=self.max_in_flight,
            max_frames_per_s=self.max_frames_per_s,
            credential=credential,
        )


def entry_of(fields: Mapping[str, Any]) -> Entry:
    """An entry of these fields; ConfigError names the one that cannot be."""
    if not is_name(fields["name"]):
        raise ConfigError(f"{fields['name']!r} cannot be a name; allowed are {ALLOWED}")
    try:
        return msgspec.convert(fields, Entry)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{fields['name']}: {error}") from error


def new_token() -> str:
    """One that nobody has, for its owner alone."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> str:
    """What is kept of it: the sha256 in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def decode_tokens(content: bytes, where: str) -> tuple[Entry, ...]:
    """The entries of a file; ConfigError names `where`, the line and what is wrong with it.

    No two lines may have the same name or the same token.
    """
    entries: list[Entry] = []
    first_line_of: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{where}: line {number} is no identity: {error}; `isthmus tokens` writes them"
            ) from error
        for key in _keys(entry):
            if first_line_of.setdefault(key, number) != number:
                raise ConfigError(
                    f"{where}: lines {first_line_of[key]} and {number} have the same {key}; "
                    "take one of them out"
                )
        entries.append(entry)
    return tuple(entries)


def encode_tokens(entries: Sequence[Entry]) -> bytes:
    """The file of these entries."""
    return b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)


def added(entries: Sequence[Entry], entry: Entry, *, again: bool = False) -> tuple[Entry, ...]:
    """With a new identity; or, with `again`, one in the place of a revoked one of this name.

    ConfigError if one of this name may come in, and else if it was revoked and `again` does not say
    that this is known, or if there is none that `again` could mean.
    """
    name = entry.name
    known = next((each for each in entries if each.name == name), None)
    if known is not None and not known.revoked:
        raise ConfigError(
            f"{name} is there already; `isthmus tokens rotate {name}` gives it a new token, "
            f"`isthmus tokens limit {name}` other limits, `isthmus tokens revoke {name}` shuts it "
            "out"
        )
    if known is not None and not again:
        raise ConfigError(
            f"{name} was revoked; if it shall come in again, say so: "
            f"`isthmus tokens add {name} --again`; else take another name"
        )
    if known is None and again:
        raise ConfigError(
            f"{name} is not in the file, so it was not revoked there: leave --again out, or see "
            "`isthmus tokens list`"
        )
    return (*(each for each in entries if each is not known), entry)


def rotated(
    entries: Sequence[Entry], name: str, token: Token, old_not_after: datetime, now: datetime
) -> tuple[Entry, ...]:
    """With one more token of `name`: those that it had end at `old_not_after`, or earlier if they
    would anyway, and those that have ended are dropped. ConfigError if it is unknown or revoked."""
    entry = _named(entries, name)
    _require_valid(entry)
    ending = (_ending(each, old_not_after) for each in entry.tokens)
    still = tuple(each for each in ending if not each.expired(now))
    if len(still) >= TOKENS_EACH:
        raise ConfigError(
            f"{name} has {TOKENS_EACH} tokens that are valid, which is the most; let the old ones "
            "end sooner (--grace-h), or revoke it and `add` it --again"
        )
    return _replaced(entries, msgspec.structs.replace(entry, tokens=(*still, token)))


def limited(entries: Sequence[Entry], name: str, limits: Mapping[str, Any]) -> tuple[Entry, ...]:
    """With these limits of `name` changed, by their fields of `Entry`. ConfigError if it is unknown
    or revoked, or a limit cannot be."""
    entry = _named(entries, name)
    _require_valid(entry)
    return _replaced(entries, entry_of(msgspec.to_builtins(entry) | limits))


def revoked(entries: Sequence[Entry], name: str) -> tuple[Entry, ...]:
    """With `name` shut out, without its tokens; ConfigError if there is none of this name."""
    entry = _named(entries, name)
    return _replaced(entries, msgspec.structs.replace(entry, revoked=True, tokens=()))


def _require_valid(entry: Entry) -> None:
    if entry.revoked:
        raise ConfigError(
            f"{entry.name} is revoked; `isthmus tokens add {entry.name} --again` lets it in, with "
            "a new token"
        )


def _keys(entry: Entry) -> Iterator[str]:
    yield f"name {entry.name}"
    for token in entry.tokens:
        yield f"token {token.id}"


def _ending(token: Token, moment: datetime) -> Token:
    if token.not_after is not None and token.not_after <= moment:
        return token
    return msgspec.structs.replace(token, not_after=moment)


def _named(entries: Sequence[Entry], name: str) -> Entry:
    for entry in entries:
        if entry.name == name:
            return entry
    raise ConfigError(f"{name} is not in the file; `isthmus tokens list` shows who is")


def _replaced(entries: Sequence[Entry], entry: Entry) -> tuple[Entry, ...]:
    return tuple(entry if each.name == entry.name else each for each in entries)


_DECODER = msgspec.json.Decoder(Entry)
