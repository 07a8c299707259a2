"""`isthmus tokens`: who may come in to a service that was started with --tokens FILE."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from isthmus import ConfigError
from isthmus_cli.console import print_json
from isthmus_cloud.security.tokens import (
    MOST,
    Entry,
    Token,
    added,
    digest_of,
    entry_of,
    limited,
    new_token,
    revoked,
    rotated,
)
from isthmus_cloud.security.tokens_file import change_tokens, read_tokens

DESCRIPTION = """\
Say who may come in to a service that was started with `--tokens FILE`.

  add NAME     a new identity; prints its token, once: only its sha256 is kept. One that was
               revoked comes in with --again alone, and only what this command says of it holds
  rotate NAME  a new token for it; those that it had stay valid for --grace-h hours
  limit NAME   other limits, from its next frame on; those that are not named stay as they are
  revoke NAME  shut it out: within a second no call of it is let in, and no frame more
  list         who is in the file, with what limits; never a token

A running service reads the file again when it changes. An identity is a device, or an
operator, who may push and activate models, too. With --certificate a client certificate with
NAME in it is enough, where the service checks them (--client-ca), and there is no token.
"""
EXAMPLES = """\
  isthmus tokens add camera-7 --file tokens.jsonl --max-streams 2 --out camera-7.token
  isthmus tokens add anna --file tokens.jsonl --role operator --valid-days 90
  isthmus tokens rotate camera-7 --file tokens.jsonl --grace-h 48
  isthmus tokens limit camera-7 --file tokens.jsonl --max-streams none --max-frames-per-s 10
  isthmus tokens revoke camera-7 --file tokens.jsonl
  isthmus tokens add camera-7 --file tokens.jsonl --again --out camera-7-new.token
  isthmus tokens list --file tokens.jsonl --json
"""

GRACE_H = 24.0
NONE = "none"
_LIMITS = {
    "max_streams": (int, "N", "streams that it may have at once"),
    "max_in_flight": (int, "N", "frames in flight over all of them"),
    "max_frames_per_s": (float, "RATE", "frames a second"),
}
_ALSO = {"add": {*_LIMITS, "role", "certificate", "again", "valid_days", "out", "json"},
         "rotate": {"valid_days", "grace_h", "out", "json"}, "limit": set(_LIMITS),
         "revoke": set(), "list": {"json"}}  # fmt: skip

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("action", choices=_ACTIONS, metavar="ACTION", help="one of those above")
    add("name", nargs="?", metavar="NAME", help="the identity, for instance the device's name")
    add("--file", type=Path, required=True, metavar="FILE", help="the tokens file")
    add("--role", choices=["device", "operator"], help="add: what it may do (default: device)")
    add("--certificate", action="store_true", help="add: a client certificate in place of a token")
    add("--again", action="store_true", help="add: an identity that was revoked may come in again")
    for name, (kind, shown, what) in _LIMITS.items():
        add(_flag(name), type=_or_none(kind), metavar=shown, help=f"add, limit: {what}, or `none`")
    add("--valid-days", type=float, metavar="DAYS", help="add, rotate: until then (default: ever)")
    add("--grace-h", type=float, metavar="HOURS", help="rotate: old tokens still hold so long"
        f" (default {GRACE_H:g}; 0: they end now)")  # fmt: skip
    add("--out", type=Path, metavar="FILE", help="write the token there, for its owner's eyes only")
    add("--json", action="store_true", help="add, rotate, list: print the result as JSON")


def _or_none(kind: type[int] | type[float]) -> Callable[[str], float | str]:
    def value(text: str) -> float | str:
        return NONE if text == NONE else kind(text)

    value.__name__ = kind.__name__  # argparse names it where it cannot read one
    return value


def run(options: argparse.Namespace) -> int:
    """Do it; the token is all that goes to stdout."""
    _refuse_what_does_not_belong(options)
    _ACTIONS[options.action](options)
    return 0


def _add(options: argparse.Namespace) -> None:
    if options.out is not None and options.out.exists():
        raise ConfigError(f"--out {options.out} is there already; give another name")
    _check_limits(options)
    fields: dict[str, Any] = {"name": options.name, "role": options.role or "device"}
    fields |= _limits_in(options)
    if options.certificate:
        entry = entry_of(fields | {"certificate": True})
        _put(options, entry)
        if options.json:
            print_json({"name": entry.name, "certificate": True})
        _tell(f"{entry.name} may come in with a certificate that has this name in it")
        return
    with _kept_once(options) as token:
        entry = entry_of(fields | {"tokens": [msgspec.to_builtins(token)]})
        _put(options, entry)


def _put(options: argparse.Namespace, entry: Entry) -> None:
    again = options.again
    change_tokens(options.file, lambda known: added(known, entry, again=again), makes=True)


def _check_limits(options: argparse.Namespace) -> None:
    for name, value in _limits_in(options).items():
        is_rate = name == "max_frames_per_s"
        if value is None or ((value > 0 if is_rate else value >= 1) and value <= MOST):
            continue
        allowed, flag = f"{'above 0, up' if is_rate else '1'} to {MOST}", _flag(name)
        raise ConfigError(f"{flag} is {value:g}; allowed is {allowed}, or none for no limit")


def _limits_in(options: argparse.Namespace) -> dict[str, float | None]:
    """Those that were named."""
    said = {name: getattr(options, name) for name in _LIMITS if getattr(options, name) is not None}
    return {name: None if value == NONE else value for name, value in said.items()}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _rotate(options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    grace_h = GRACE_H if options.grace_h is None else options.grace_h
    end = now + _span("--grace-h", grace_h, timedelta(hours=1))
    with _kept_once(options) as token:
        change_tokens(options.file, lambda entries: rotated(entries, options.name, token, end, now))


def _limit(options: argparse.Namespace) -> None:
    _check_limits(options)
    limits = _limits_in(options)
    if not limits:
        flags = ", ".join(map(_flag, _LIMITS))
        raise ConfigError(f"limit needs one of {flags}; see `isthmus tokens --help`")
    written = change_tokens(options.file, lambda known: limited(known, options.name, limits))
    (entry,) = (each for each in written if each.name == options.name)
    _tell(f"{entry.name} has {_limits_of(entry) or 'no limit'} from now on")


def _revoke(options: argparse.Namespace) -> None:
    change_tokens(options.file, lambda entries: revoked(entries, options.name))
    _tell(f"{options.name} is shut out, and its tokens are forgotten")


def _list(options: argparse.Namespace) -> None:
    entries = read_tokens(options.file)
    if options.json:
        print_json([_as_json(entry) for entry in entries])
        return
    rows = [("NAME", "ROLE", "STATE", "LIMITS", "COMES WITH"), *map(_row, entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


_ACTIONS = {
    "add": _add,
    "rotate": _rotate,
    "limit": _limit,
    "revoke": _revoke,
    "list": _list,
}


def _refuse_what_does_not_belong(options: argparse.Namespace) -> None:
    if (options.name is None) != (options.action == "list"):
        what = "takes no NAME" if options.action == "list" else "needs a NAME"
        raise ConfigError(f"{options.action} {what}; see `isthmus tokens --help`")
    others = set().union(*_ALSO.values()) - _ALSO[options.action]
    for name in sorted(others):
        if getattr(options, name) not in (None, False):
            raise ConfigError(f"{options.action} has no {_flag(name)}; see `isthmus tokens --help`")
    if options.certificate and (options.out or options.valid_days is not None):
        raise ConfigError("with --certificate there is no token: leave --out and --valid-days out")


@contextmanager
def _kept_once(options: argparse.Namespace) -> Iterator[Token]:
    """A new token; it is shown when what keeps it is done, and nowhere if that fails."""
    secret = new_token()
    not_after = None
    if options.valid_days is not None:
        span = _span("--valid-days", options.valid_days, timedelta(days=1))
        not_after = datetime.now(UTC).replace(microsecond=0) + span
    with _written(options.out, secret):
        yield Token(sha256=digest_of(secret), not_after=not_after)
    shown = {"token": secret} if options.out is None else {"out": str(options.out)}
    if options.json:
        until = None if not_after is None else not_after.isoformat()
        print_json({"name": options.name, **shown, "not_after": until})
    elif options.out is None:
        _tell(f"the token of {options.name}, shown this once:")
        print(secret)
    else:
        _tell(f"the token of {options.name} is in {options.out}, and nowhere else")


@contextmanager
def _written(out: Path | None, secret: str) -> Iterator[None]:
    """The secret in a file that only its owner may read, if what happens within goes well."""
    if out is None:
        yield
        return
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(f"{secret}\n")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from error
    try:
        yield
        Path(name).replace(out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _span(flag: str, value: float, unit: timedelta) -> timedelta:
    if not 0 <= value <= 36_500:
        raise ConfigError(f"{flag} is {value:g}; allowed is 0 to 36500")
    return value * unit


def _row(entry: Entry) -> tuple[str, str, str, str, str]:
    return entry.name, entry.role, _state(entry), _limits_of(entry) or "-", _credentials(entry)


def _limits_of(entry: Entry) -> str:
    return ", ".join(
        f"{name[4:]} {value:g}" for name in _LIMITS if (value := getattr(entry, name)) is not None
    )


def _state(entry: Entry) -> str:
    if entry.revoked:
        return "revoked"
    now = datetime.now(UTC)
    lives = entry.certificate or any(not token.expired(now) for token in entry.tokens)
    return "valid" if lives else "over"


def _credentials(entry: Entry) -> str:
    shown = ["certificate"] if entry.certificate else []
    for token in entry.tokens:
        until = f" until {token.not_after:%Y-%m-%d %H:%M}" if token.not_after else ""
        shown.append(f"token {token.id}{until}")
    return ", ".join(shown) or "-"


def _as_json(entry: Entry) -> dict[str, Any]:
    tokens = [
        {"id": token.id, "not_after": token.not_after and token.not_after.isoformat()}
        for token in entry.tokens
    ]
    limits = {name: getattr(entry, name) for name in _LIMITS}
    shown = {"name": entry.name, "role": entry.role, "state": _state(entry)}
    return {**shown, "certificate": entry.certificate, "tokens": tokens, **limits}


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
