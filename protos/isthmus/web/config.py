"""What the small web server can be told, validated at the border."""

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.addresses import is_loopback, split_address
from isthmus.errors import ConfigError
from isthmus.web.validity import check_dates

LEAST_TOKEN = 16  # characters; `openssl rand -hex 32` makes 64
MOST_TOKEN_BYTES = 4096
_AT_LEAST_ONE = ("max_connections", "max_event_streams")

__all__ = ["WebConfig", "read_token", "tls_context"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Settings of one `WebServer`; ConfigError names the field and the way out.

    `listen` is HOST:PORT, port 0 takes a free one. Off the loopback it takes TLS *and* a `token`,
    unless `insecure` says that whoever reaches the address may look. Without a token the `Host` of
    a request must be an IP address, localhost, the host of `listen` or one of `hosts`: a page of
    somebody else's whose name is made to point here (DNS rebinding) has another one.

    `max_connections` are served at once, of which `max_event_streams` may be streams of events.
    """

    listen: str = "127.0.0.1:8080"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token: str | None = field(default=None, repr=False)
    insecure: bool = False
    hosts: tuple[str, ...] = ()
    max_connections: int = 64
    max_event_streams: int = 16

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError(
                "the web page's TLS needs both: give tls_certificate and tls_key, or neither"
            )
        _check_token(self.token)
        host, _ = split_address(self.listen)
        if is_loopback(host) or self.insecure:
            return
        if self.token is None or self.tls_certificate is None:
            raise ConfigError(
                f"listening on {self.listen} would show the inside of this process to the network; "
                "give a TLS certificate with its key and a token, allow it with insecure where "
                "everybody on the network may look, or listen on 127.0.0.1 and come through a "
                "tunnel (ssh -L)"
            )

    @property
    def host(self) -> str:
        """Of `listen`, without brackets."""
        return split_address(self.listen)[0]

    @property
    def port(self) -> int:
        """Of `listen`; 0 for any that is free."""
        return split_address(self.listen)[1]

    @property
    def has_tls(self) -> bool:
        """Whether the address begins with https."""
        return self.tls_certificate is not None


def read_token(path: Path) -> str:
    """The token in a file, without the space around it; ConfigError if it cannot be one."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_TOKEN_BYTES + 1)
    except OSError as error:
        way_out = _to_be_read(error, "give a file that holds the token")
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {way_out}") from error
    try:
        token = content.decode("ascii").strip()
        if len(content) > MOST_TOKEN_BYTES:
            raise ConfigError(f"longer than {MOST_TOKEN_BYTES} bytes")
        _check_token(token)
    except (UnicodeDecodeError, ConfigError) as error:
        reason = "not ASCII" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigError(f"{path}: holds no token ({reason})") from None  # it would show a secret
    return token


def tls_context(config: WebConfig) -> ssl.SSLContext | None:
    """As the configuration says, None without TLS; ConfigError if the files cannot be used, or if
    the certificate is over. One that is not valid yet is told in the log.

    Reads files: it belongs on a thread.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key, _no_passphrase)
        check_dates(context, config.tls_certificate)
    except OSError as error:  # ssl.SSLError is one
        way_out = _to_be_read(error, "give a PEM certificate and its unencrypted key")
        raise ConfigError(
            f"TLS with {config.tls_certificate} and {config.tls_key}: "
            f"{error.strerror or error}; {way_out}"
        ) from error
    return context


def _to_be_read(error: OSError, otherwise: str) -> str:
    if isinstance(error, PermissionError):
        return f"let this process's user ({os.geteuid()}) read it"
    return otherwise


def _no_passphrase() -> str:
    """Nobody is there to be asked: OpenSSL would ask on the terminal."""
    return ""


def _check_token(token: str | None) -> None:
    if token is None:
        return
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the web page's token must be {LEAST_TOKEN} or more printable ASCII characters "
            "without spaces; `openssl rand -hex 32` makes a good one"
        )
