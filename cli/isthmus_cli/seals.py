"""Whose signature a bundle has, as it is shown to people and to machines."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from isthmus import BundleError
from isthmus.signing import read_signature, verify_signature

State = Literal["none", "unverified", "verified", "wrong"]

__all__ = ["Seal", "add_keys", "seal_of"]


def add_keys(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Declare `--key`, which may be repeated."""
    parser.add_argument(
        "--key", type=Path, action="append", default=[], metavar="PEM", help=meaning
    )


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle's signature. "unverified" is one that no key was given for; "wrong" is what may not
    be used, for `reason`. `key` is the id of the key that made it, None where that is not known."""

    state: State
    key: str | None = None
    reason: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether it is not as it must be."""
        return self.state == "wrong"

    @property
    def text(self) -> str:
        """For people."""
        match self.state:
            case "none":
                return "not signed"
            case "unverified":
                return "signed; whose signature it is, --key PEM (a public key) tells"
            case "verified":
                return f"signed by key {self.key}"
            case "wrong":
                return f"the signature is not right: {self.reason}"


def seal_of(bundle: Path, keys: Sequence[Path]) -> Seal:
    """Look at the signature in a bundle's folder; with public keys it must be of one of them.

    ConfigError if a key cannot be used.
    """
    try:
        if keys:
            return Seal(state="verified", key=verify_signature(bundle, keys))
        return Seal(state="none" if read_signature(bundle) is None else "unverified")
    except BundleError as error:
        return Seal(state="wrong", reason=str(error))
