"""TLS to the service: whether the certificate is trusted, meant for this name, and valid now.

The verification is OpenSSL's own; if it refuses name or dates, a second handshake that looks away
from both tells what is in the certificate.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import ConfigError
from isthmus.tls_in_memory import NO_CHECK_TIME
from isthmus_edge.doctor.finding import Finding, fail, note, warn
from isthmus_edge.doctor.network import CONNECT_S, Address, Network

SOON_DAYS = 21
_DAY_S = 86_400
# X509_V_ERR_*, openssl/x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_NAME_CODES = frozenset({62, 64})

__all__ = ["SOON_DAYS", "TlsLook", "speaks_tls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsLook:
    """Looks at the certificate of one service, as a device with `ca` would."""

    network: Network
    address: Address
    host: str
    ca: Path
    wall_s: Callable[[], float]

    def look(self) -> Finding:
        """One finding. ConfigError if `ca` is no file with certificates."""
        strict = self._context()
        try:
            return self._judged(self._certificate(strict))
        except ssl.SSLCertVerificationError as error:
            return self._refused(error)
        except ssl.SSLError as error:
            return fail("link.tls", f"no TLS: {_reason(error)}", _PLAIN_WAY_OUT, reason="no TLS")
        except OSError as error:
            text = f"the connection broke in the handshake: {error.strerror or error}"
            return fail("link.tls", text, _PLAIN_WAY_OUT, reason="broken")

    def _refused(self, error: ssl.SSLCertVerificationError) -> Finding:
        if error.verify_code in {_EXPIRED, _NOT_YET_VALID}:
            return self._out_of_time(self._shown(), error)
        if error.verify_code in _NAME_CODES:
            return self._misnamed(self._shown())
        return fail(
            "link.tls",
            f"{self.ca.name} does not vouch for the certificate: {error.verify_message}",
            "give --tls-ca the certificate that signed the service's (or, if it signed itself, "
            "that one); copy it from the service again",
            reason="untrusted",
        )

    def _shown(self) -> dict[str, Any]:
        """What a trusted certificate says, whatever its name and dates; {} if it is kept back."""
        lenient = self._context()
        lenient.check_hostname = False
        lenient.verify_flags |= NO_CHECK_TIME
        try:
            return self._certificate(lenient)
        except OSError:  # the first handshake said what is wrong
            return {}

    def _misnamed(self, found: dict[str, Any]) -> Finding:
        names = _names(found)
        text = f"the certificate is not for {self.host}"
        if found:
            text += f", but for {', '.join(names) or 'no name'}"
            begin, end = _dates_s(found)
            if not begin <= self.wall_s() <= end:
                text += f"; nor is it valid now, but {found['notBefore']} to {found['notAfter']}"
        return fail(
            "link.tls",
            text,
            "give --cloud the name in the certificate, or make one with this name (subjectAltName)",
            reason="name",
            names=names,
        )

    def _out_of_time(self, found: dict[str, Any], error: ssl.SSLCertVerificationError) -> Finding:
        begin, end = (None, None) if not found else _dates_s(found)
        if error.verify_code == _NOT_YET_VALID:
            days = None if begin is None else self._days_until(begin)
            since = "" if days is None else f" (from {found['notBefore']}, in {days:.0f} days)"
            return fail(
                "link.tls",
                f"the certificate is not valid yet{since}: most likely the clock here is too early",
                "set the clock (timedatectl set-ntp true); see the line `clock`",
                reason="not yet valid",
                days_until_valid=days,
            )
        own = f" (its own: {found['notAfter']})" if found else ""
        return fail(
            "link.tls",
            f"the certificate or its issuer's has expired{own}",
            "renew it and start the service again; if this clock is too late, set it",
            reason="expired",
            days_left=None if end is None else self._days_until(end),
        )

    def _days_until(self, then_s: float) -> float:
        return round((then_s - self.wall_s()) / _DAY_S, 1)

    def _judged(self, found: dict[str, Any]) -> Finding:
        days = self._days_until(_dates_s(found)[1])
        protocol = found["protocol"]
        text = f"{protocol}, trusted, for {self.host}, valid for {days:.0f} more days"
        if found["alpn"] != "h2":
            way_out = "is there a proxy before the service? it must pass HTTP/2 (ALPN h2) on"
            return fail("link.tls", f"{text}; but no HTTP/2", way_out, reason="no HTTP/2")
        if days < SOON_DAYS:
            way_out = "renew the certificate"
            return warn("link.tls", text, way_out, days_left=days)
        return note("link.tls", text, days_left=days, protocol=protocol)

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
        except ssl.SSLError as error:
            raise ConfigError(
                f"{self.ca}: no certificates in PEM format in it; give --tls-ca the file with the "
                "certificate (BEGIN CERTIFICATE) that signed the service's, and not a key"
            ) from error
        except OSError as error:
            raise ConfigError(f"{self.ca}: {error.strerror}; {_PEM_WAY_OUT}") from error
        context.set_alpn_protocols(["h2"])
        return context

    def _certificate(self, context: ssl.SSLContext) -> dict[str, Any]:
        with (
            self.network.connect(self.address, CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=self.host) as secured,
        ):
            found = dict(secured.getpeercert() or {})
            return found | {
                "protocol": secured.version() or "TLS",
                "alpn": secured.selected_alpn_protocol(),
            }


def speaks_tls(network: Network, address: Address) -> bool:
    """Whether a service that does not answer in plain text would answer in TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with network.connect(address, CONNECT_S) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def _dates_s(found: dict[str, Any]) -> tuple[float, float]:
    """From when until when, in seconds since 1970."""
    begin, end = (ssl.cert_time_to_seconds(found[key]) for key in ("notBefore", "notAfter"))
    return begin, end


def _names(found: dict[str, Any]) -> list[str]:
    alternative = [str(value) for _, value in found.get("subjectAltName", ())]
    common = [
        str(value)
        for part in found.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    return alternative or common


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


_PEM_WAY_OUT = "give --tls-ca a PEM file that is there and that this user may read"
_PLAIN_WAY_OUT = (
    "does the service serve plain text? start it with --tls-cert and --tls-key, or trust the "
    "network and give --insecure in place of --tls-ca"
)
