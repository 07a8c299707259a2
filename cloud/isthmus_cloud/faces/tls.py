"""The service's certificate: tried before it is used, and taken up again when its files change."""

import asyncio
import logging
import ssl
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
from cryptography import x509

from isthmus import ConfigError
from isthmus_cloud.file_stamps import FileStamp, stamp_of
from isthmus_cloud.looking import looking

LOOK_S = 1.0
SOON = timedelta(days=14)  # before its end it is told, at the start and then once a day
DAY = timedelta(days=1)

__all__ = ["ServedCertificate", "looked_after"]

_logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class ServedCertificate:
    """A certificate with its key, and the authorities whose certificates callers must have, if any.

    Files are looked at when somebody connects, at most every `LOOK_S`, and by `look`, so that the
    log has what is wrong with them though nobody comes. If new ones cannot be used (a certificate
    that is there before its key, or that is over), the old ones stay, which is told once. `clock`
    counts seconds, `now` is the time of day.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        client_ca: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """ConfigError if they cannot be used, or if the certificate is over."""
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._clock = clock
        self._now = now
        self._ends = self._told = now()
        self._authorities: Sequence[x509.Certificate] = ()
        self._looking = threading.Lock()
        self._looked_s = clock()
        self._seen = self._stamps()
        self._configuration = self._load()
        self._fresh: grpc.ServerCertificateConfiguration | None = None  # nobody has connected since

    def credentials(self) -> grpc.ServerCredentials:
        """For a server; connections from then on get what the files say by then."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self.renewed,  # type: ignore[arg-type]  # None is allowed: as before
            require_client_authentication=self._client_ca is not None,
        )

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What new connections get from now on, None: as before. Called by gRPC's own threads."""
        if not self._looking.acquire(blocking=False):
            return None
        try:
            if self._clock() - self._looked_s >= LOOK_S:
                self._look()
            fresh, self._fresh = self._fresh, None
            return fresh
        finally:
            self._looking.release()

    def look(self) -> None:
        """Read the files again if they have changed; who connects next gets what they hold.

        It uses the disk, and may be called by any thread.
        """
        with self._looking:
            self._look()

    def _look(self) -> None:
        self._looked_s = self._clock()
        stamps = self._stamps()
        if stamps == self._seen:
            self._warn_of_end()
            return
        self._seen = stamps
        try:
            self._fresh = self._load()
        except ConfigError as error:
            _logger.warning("%s; the certificate before it stays in use", error)
            return
        _logger.info("new connections get the certificate that is in %s now", self._certificate)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        pair = self._pair()
        authorities = self._read_authorities()
        self._told = self._now() - DAY
        self._warn_of_end()
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def _pair(self) -> tuple[bytes, bytes]:
        try:
            # gRPC would only log that it cannot use them.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self._certificate, self._key, password=_no_password
            )
            self._warn_of_readers()
            key, certificate = self._key.read_bytes(), self._certificate.read_bytes()
            self._check_dates(x509.load_pem_x509_certificate(certificate))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(
                f"TLS certificate {self._certificate} and key {self._key} cannot be used: "
                f"{error}; both must be PEM files that belong together, the key without a password"
            ) from error
        return key, certificate

    def _check_dates(self, certificate: x509.Certificate) -> None:
        """Of the service's own, the first of the file: no caller takes it when it is over."""
        now = self._now()
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now >= ends:
            raise ConfigError(
                f"the TLS certificate {self._certificate} was valid until {_day(ends)}, and it is "
                f"{_day(now)}: no device would take it; put a new one there, or set the clock of "
                "this machine if it is wrong"
            )
        if now < begins:
            _logger.warning(
                "the TLS certificate %s is valid from %s on, and it is %s: no device takes it "
                "until then; is the clock of this machine right?",
                self._certificate,
                _day(begins),
                _day(now),
            )
        self._ends = ends

    def _warn_of_end(self) -> None:
        now = self._now()
        due = [text for ends, text in self._endings() if now >= ends - SOON]
        if not due or now < self._told + DAY:
            return
        self._told = now
        for text in due:
            _logger.warning("%s", text)

    def _endings(self) -> Iterator[tuple[datetime, str]]:
        """When something in use is over, and what to do about it."""
        yield (
            self._ends,
            f"the TLS certificate {self._certificate} is valid until {_day(self._ends)}, and no "
            "device takes it from then on; put a new one in its place: it is taken up without a "
            "restart",
        )
        for authority in self._authorities:
            ends = authority.not_valid_after_utc
            yield (
                ends,
                f"{self._client_ca}: the authority {authority.subject.rfc4514_string()} is valid "
                f"until {_day(ends)}, and no caller comes in with a certificate of it from then "
                "on; put the next authority beside it: it is taken up without a restart",
            )

    def _read_authorities(self) -> bytes | None:
        if self._client_ca is None:
            return None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(self._client_ca)
            pem = self._client_ca.read_bytes()
            self._authorities = x509.load_pem_x509_certificates(pem)
            return pem
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self._client_ca} cannot be used to check the certificates of callers: {error}; "
                "it must be a PEM file of the authorities that sign them"
            ) from error

    def _stamps(self) -> tuple[FileStamp | None, ...]:
        return tuple(
            stamp_of(path)
            for path in (self._certificate, self._key, self._client_ca)
            if path is not None
        )

    def _warn_of_readers(self) -> None:
        if self._key.stat().st_mode & stat.S_IRWXO:
            _logger.warning(
                "every user of this machine may read the key %s; chmod o= it", self._key
            )


@asynccontextmanager
async def looked_after(certificate: ServedCertificate | None) -> AsyncIterator[None]:
    """It is looked at every `LOOK_S` as long as the context lasts; None: there is nothing to do."""
    if certificate is None:
        yield
        return
    look = partial(asyncio.to_thread, certificate.look)
    async with looking(look, LOOK_S, "the files of the certificate"):
        yield


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _no_password() -> str:
    raise ValueError("the key is encrypted")
