"""What a device shows a service, and whom it trusts: read anew for each connection.

So a token or a certificate is exchanged by writing the file. Secrets stand in no `repr`, log,
status or error.
"""

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from isthmus import ConfigError
from isthmus.regular_files import open_regular

MOST_BYTES = 1024 * 1024  # of a PEM file with many certificates
MOST_TOKEN_BYTES = 4096  # as a header may have, beside others

Options = tuple[tuple[str, int | str], ...]

__all__ = ["Credentials", "Shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The contents of the files, as they were just now."""

    tls_ca: bytes | None = field(repr=False)
    tls_certificate: bytes | None = field(repr=False)
    tls_key: bytes | None = field(repr=False)
    token: str | None = field(repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def channel(self, address: str, options: Options, server_name: str = "") -> grpc.Channel:
        """A channel to HOST:PORT, over TLS where there is something to trust.

        `server_name` is whom the service is addressed as, and whom its certificate must be for;
        by default the host.
        """
        if server_name:
            port = address.rpartition(":")[2]
            options += (("grpc.default_authority", f"{server_name}:{port}"),)
        if self.tls_ca is None:
            return grpc.insecure_channel(address, options)
        trust = grpc.ssl_channel_credentials(self.tls_ca, self.tls_key, self.tls_certificate)
        return grpc.secure_channel(address, trust, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Files in PEM format: `tls_ca` to trust, `tls_certificate` and `tls_key` to show (mTLS).

    The bearer token is `token`, or what `token_file` holds. Raises ConfigError for settings that do
    not go together.
    """

    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError(
                "tls_certificate and tls_key go together (--tls-cert, --tls-key); give both"
            )
        if self.tls_certificate is not None and self.tls_ca is None:
            raise ConfigError(
                "tls_certificate is shown over TLS only; give the service's certificate too "
                "(tls_ca, --tls-ca)"
            )
        if self.token is not None and self.token_file is not None:
            raise ConfigError("token and token_file: give one of the two")
        if self.token is not None:
            _checked("token", self.token)

    @property
    def has_token(self) -> bool:
        """Whether a token is shown."""
        return self.token is not None or self.token_file is not None

    def read(self) -> Shown:
        """What the files hold now; ConfigError for one that cannot be read or is no such thing."""
        token = self.token
        if self.token_file is not None:
            text = _content("token_file", self.token_file, MOST_TOKEN_BYTES)
            token = _checked(str(self.token_file), text.decode("ascii", "replace").strip())
        return Shown(
            tls_ca=_pem("tls_ca", self.tls_ca),
            tls_certificate=_pem("tls_certificate", self.tls_certificate),
            tls_key=_pem("tls_key", self.tls_key),
            token=token,
        )


def _checked(where: str, token: str) -> str:
    """A token that a header can carry; what it is must not be told."""
    if not token or len(token) > MOST_TOKEN_BYTES or not all("!" <= c <= "~" for c in token):
        raise ConfigError(
            f"{where}: this is no token; give one line of letters, digits and signs without "
            "spaces, as `isthmus tokens add` prints it"
        )
    return token


def _pem(name: str, file: Path | None) -> bytes | None:
    if file is None:
        return None
    content = _content(name, file, MOST_BYTES)
    if b"-----BEGIN " not in content:
        raise ConfigError(
            f"{file}: holds nothing in PEM format (-----BEGIN …); give {name} a file that does"
        )
    return content


def _content(name: str, file: Path, most_bytes: int) -> bytes:
    try:
        with open_regular(file) as opened:
            content = opened.read(most_bytes + 1)
    except OSError as error:
        wanted = "with the token in one line" if name == "token_file" else "in PEM format"
        raise ConfigError(f"{file}: {error.strerror}; {name} is to be a file {wanted}") from error
    if len(content) > most_bytes:
        raise ConfigError(f"{file} has more than {most_bytes:,} bytes; it cannot be a {name}")
    return content
