"""`isthmus keys`: make keys, sign bundles with them, and see whose a bundle is."""

import argparse
from pathlib import Path

from isthmus import ConfigError
from isthmus.bundle import read_manifest
from isthmus.signing import make_keys, sign_bundle, verify_signature

DESCRIPTION = """\
Make a pair of keys, and sign bundles, so that a service or a device takes no others.

  make DIR       a new pair: the private key for whoever signs, the public one for
                 services and devices
  sign BUNDLE    sign with the private key: --key PEM; every file is checked first
  verify BUNDLE  whether one of the public keys has signed it: --key PEM, any number of times

A signature (ed25519, `bundle.json.sig`) is over the manifest, which has the sha256 of every
file. `openssl pkeyutl -rawin` makes and verifies the same ones.
"""
EXAMPLES = """\
  isthmus keys make keys/
  isthmus keys sign lite0.bundle --key keys/signing-key.pem
  isthmus keys verify lite0.bundle --key keys/signing-key.pub.pem --key old.pub.pem
"""

SHORT = 12  # digits of a fingerprint that people compare

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("action", choices=["make", "sign", "verify"], metavar="ACTION", help="see above")
    add("path", type=Path, metavar="PATH", help="make: the folder for the keys; else the bundle")
    add(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="PEM",
        help="sign: the private key; verify: a public key (may be repeated)",
    )


def run(options: argparse.Namespace) -> int:
    """Do it, and say what was done."""
    keys: list[Path] = options.key
    if options.action == "make":
        if keys:
            raise ConfigError("make has no --key; see `isthmus keys --help`")
        private, public = make_keys(options.path)
        print(f"private key {private}: keep it where bundles are signed, and nowhere else")
        print(f"public key  {public}: for services and devices")
        return 0
    if not keys or (options.action == "sign" and len(keys) > 1):
        wanted = "one --key PEM, the private one" if options.action == "sign" else "--key PEM"
        raise ConfigError(f"{options.action} needs {wanted}; see `isthmus keys --help`")
    if options.action == "sign":
        signature = sign_bundle(options.path, keys[0])
        print(f"signed {_title(options.path)}: {signature}")
    else:
        verify_signature(options.path, keys)
        print(f"signed by one of {len(keys)} keys: {_title(options.path)}")
    return 0


def _title(bundle: Path) -> str:
    manifest, fingerprint = read_manifest(bundle)
    return f"{manifest.model_name} {fingerprint[:SHORT]}"
