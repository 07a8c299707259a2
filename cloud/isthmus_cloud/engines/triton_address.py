"""Where a Triton server is, as people write it: triton://HOST:PORT."""

from dataclasses import dataclass
from math import isfinite
from urllib.parse import parse_qs, urlsplit

from isthmus import ConfigError

SCHEME = "triton://"
TIMEOUT_S = 10.0

__all__ = ["SCHEME", "TIMEOUT_S", "TritonAddress"]

_FORM = f"{SCHEME}HOST:PORT, for instance {SCHEME}127.0.0.1:8001, with ?timeout_s=S if need be"


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonAddress:
    """`target` is HOST:PORT of the server's gRPC port; a call takes at most `timeout_s`."""

    target: str
    timeout_s: float = TIMEOUT_S

    @classmethod
    def parse(cls, text: str) -> "TritonAddress":
        """ConfigError unless it is of the form triton://HOST:PORT[?timeout_s=S]."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
            query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise ConfigError(f"engine {text!r} is not {_FORM} ({error})") from error
        is_bare = not (parts.username or parts.password or parts.fragment)
        if not (text.startswith(SCHEME) and host and port and is_bare and parts.path in {"", "/"}):
            raise ConfigError(f"engine {text!r} is not {_FORM}")
        unknown = set(query) - {"timeout_s"}
        if unknown:
            raise ConfigError(
                f"engine {text!r}: unknown {', '.join(sorted(unknown))}; it is {_FORM}"
            )
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return cls(target=target, timeout_s=_timeout(text, query.get("timeout_s", [""])[-1]))


def _timeout(text: str, given: str) -> float:
    try:
        timeout_s = float(given) if given else TIMEOUT_S
    except ValueError:
        timeout_s = 0.0
    if not (timeout_s > 0 and isfinite(timeout_s)):
        raise ConfigError(f"engine {text!r}: timeout_s is a number of seconds above 0")
    return timeout_s
