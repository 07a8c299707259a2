"""The certificate that this device shows: whether it fits its key, and how long it is valid.

Python reads a certificate only in a handshake. So one is shaken in memory, from this device to
itself, with the certificate as its own trust and without regard to dates.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus import ConfigError
from isthmus.tls_in_memory import NO_CHECK_TIME, PARTIAL_CHAIN, shaken
from isthmus_edge.doctor.finding import Finding, fail, note, warn

SOON_DAYS = 21
_DAY_S = 86_400
_RENEW = "renew it: once it is over, no service takes it"

__all__ = ["SOON_DAYS", "OwnCertificate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """Looks at the certificate and the key that a device shows a service."""

    certificate: Path
    key: Path
    wall_s: Callable[[], float]

    def look(self) -> Finding:
        """One finding. ConfigError for files that are no certificate and no key of it."""
        try:
            found = _seen(self.certificate, self.key)
        except ssl.SSLCertVerificationError as error:
            text = f"{self.certificate.name} is not for devices: {error.verify_message}"
            way_out = "ask for one that may be shown by a client (extendedKeyUsage clientAuth)"
            return fail("link.certificate", text, way_out, reason="purpose")
        begin, end = (ssl.cert_time_to_seconds(found[key]) for key in ("notBefore", "notAfter"))
        days = round((end - self.wall_s()) / _DAY_S, 1)
        if self.wall_s() < begin:
            text = f"{self.certificate.name} is not valid before {found['notBefore']}"
            way_out = "set the clock (timedatectl set-ntp true), if it is that which is wrong"
            return fail("link.certificate", text, way_out, reason="not yet valid")
        if days < 0:
            text = f"{self.certificate.name} has expired ({found['notAfter']})"
            return fail("link.certificate", text, _RENEW, reason="expired", days_left=days)
        text = f"this device's own is valid for {days:.0f} more days"
        if days < SOON_DAYS:
            return warn("link.certificate", text, _RENEW, days_left=days)
        return note("link.certificate", text, days_left=days)


def _seen(certificate: Path, key: Path) -> dict[str, Any]:
    """What stands in it."""
    shows, sees = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    )
    shows.check_hostname, shows.verify_mode = False, ssl.CERT_NONE
    sees.verify_mode = ssl.CERT_REQUIRED
    sees.verify_flags |= NO_CHECK_TIME | PARTIAL_CHAIN
    try:
        shows.load_cert_chain(certificate, key)
        sees.load_cert_chain(certificate, key)
        sees.load_verify_locations(certificate)
    except OSError as error:  # an SSLError is one, too
        raise ConfigError(
            f"{certificate}, {key}: {error.strerror or error}; give a certificate and its own "
            "key in PEM format (--tls-cert, --tls-key)"
        ) from error
    _, server = shaken(shows, sees)
    return dict(server.getpeercert() or {})
