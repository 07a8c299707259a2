"""From when until when a server's certificate is valid, as who connects sees it.

Python reads a certificate only in a handshake. So one is shaken in memory, with the certificate as
its own trust and without regard to dates.
"""

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

from isthmus.errors import ConfigError
from isthmus.tls_in_memory import NO_CHECK_TIME, PARTIAL_CHAIN, shaken

__all__ = ["check_dates"]

log = logging.getLogger("isthmus.web")


def check_dates(shows: ssl.SSLContext, certificate: Path) -> None:
    """Of the certificate that a server with the context `shows`, which was loaded from this file.

    ConfigError if it is over, or not for servers. One that is not valid yet is told in the log: the
    clock of this machine may be the one that is wrong. OSError if the file cannot be read.
    """
    try:
        begins, ends = _dates(shows, certificate)
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(
            f"no browser would take the TLS certificate {certificate}: {error.verify_message}; "
            "give one that is for servers (extendedKeyUsage serverAuth)"
        ) from error
    now = datetime.now(UTC)
    if now >= ends:
        raise ConfigError(
            f"the TLS certificate {certificate} was valid until {_day(ends)}, and it is "
            f"{_day(now)}: no browser would take it; put a new one there, or set the clock of "
            "this machine if it is wrong"
        )
    if now < begins:
        log.warning(
            "the TLS certificate %s is valid from %s on, and it is %s: no browser takes it until "
            "then; is the clock of this machine right?",
            certificate,
            _day(begins),
            _day(now),
        )


def _dates(shows: ssl.SSLContext, certificate: Path) -> tuple[datetime, datetime]:
    sees = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sees.check_hostname = False
    sees.verify_flags |= NO_CHECK_TIME | PARTIAL_CHAIN
    sees.load_verify_locations(certificate)
    client, _ = shaken(sees, shows)
    found = client.getpeercert() or {}
    return _moment(found["notBefore"]), _moment(found["notAfter"])


def _moment(text: object) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(text)), UTC)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
