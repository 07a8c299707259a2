"""Where a Triton server is, and how safe the way there is: triton://HOST:PORT."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from isthmus import ConfigError, is_loopback

SCHEME = "triton://"
SYSTEM = "system"
TIMEOUT_S = 10.0

__all__ = ["SCHEME", "TIMEOUT_S", "TritonAddress"]

_FORM = (
    f"{SCHEME}HOST:PORT, for instance {SCHEME}127.0.0.1:8001; behind a '?' may stand, joined by "
    f"'&': timeout_s=S, tls=CA.pem (or tls={SYSTEM}), insecure=yes"
)
_WORDS = frozenset({"timeout_s", "tls", "insecure"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonAddress:
    """`target` is HOST:PORT of the server's gRPC port; a call takes at most `timeout_s`.

    With `tls` the server must have a certificate that one of the authorities in `authorities` (PEM)
    signed, or one of the system's where that is None.
    """

    target: str
    timeout_s: float = TIMEOUT_S
    tls: bool = False
    authorities: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> "TritonAddress":
        """Reads the file of authorities, if one is named.

        ConfigError unless the form is right, and TLS is used where the server is not on this
        machine, or the words say that the network is trusted.
        """
        host, port, words = _parts(text)
        tls, is_trusted = words.get("tls"), words.get("insecure") == "yes"
        if not (tls or is_trusted or is_loopback(host)):
            raise ConfigError(
                f"engine {text!r} would send what devices sent to another machine in the clear; "
                f"add ?tls=CA.pem (or ?tls={SYSTEM}), or ?insecure=yes where the network is trusted"
            )
        return cls(
            target=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            timeout_s=_timeout(text, words.get("timeout_s", "")),
            tls=tls is not None,
            authorities=None if tls in {None, SYSTEM} else _read(text, Path(tls or "")),
        )


def _parts(text: str) -> tuple[str, int, dict[str, str]]:
    """Host, port and words; ConfigError unless the form is right."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        words = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError as error:
        raise ConfigError(f"engine {text!r} is not {_FORM} ({error})") from error
    is_bare = not (parts.username or parts.password or parts.fragment)
    if not (text.startswith(SCHEME) and host and port and is_bare and parts.path in {"", "/"}):
        raise ConfigError(f"engine {text!r} is not {_FORM}")
    if words.get("insecure", "yes") != "yes" or not set(words) <= _WORDS:
        strange = ", ".join(f"{name}={value}" for name, value in words.items())
        raise ConfigError(f"engine {text!r}: {strange} cannot be used; the form is {_FORM}")
    return host, port, words


def _read(text: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"engine {text!r}: {path} cannot be read ({error.strerror})") from error


def _timeout(text: str, given: str) -> float:
    try:
        timeout_s = float(given) if given else TIMEOUT_S
    except ValueError:
        timeout_s = 0.0
    if not (timeout_s > 0 and isfinite(timeout_s)):
        raise ConfigError(f"engine {text!r}: timeout_s is a number of seconds above 0")
    return timeout_s
