"""Certificates of any dates and names from `openssl`, and a server that shows them."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

LASTING = ("20200101000000Z", "21000101000000Z")
OVER = ("20200101000000Z", "20210101000000Z")
TO_COME = ("20990101000000Z", "21000101000000Z")
PATIENCE_S = 10.0

_CONFIG = """
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = policy
x509_extensions = extensions
[policy]
commonName = supplied
[extensions]
subjectAltName = {names}
basicConstraints = CA:TRUE
"""


@dataclass(frozen=True)
class Certificate:
    """A certificate that vouches for itself, and its key."""

    pem: Path
    key: Path


def make_certificate(
    folder: Path,
    dates: tuple[str, str] = LASTING,
    names: str = "DNS:localhost,IP:127.0.0.1",
) -> Certificate:
    """In a folder that does not exist yet; skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    folder.mkdir()
    (folder / "config").write_text(_CONFIG.format(names=names), encoding="ascii")
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n", encoding="ascii")
    request = "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    sign = f"ca -batch -notext -config config -selfsign -startdate {dates[0]} -enddate {dates[1]}"
    for words in (
        f"{request} -keyout key.pem -out request.pem",
        f"{sign} -keyfile key.pem -in request.pem -out certificate.pem",
    ):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    return Certificate(folder / "certificate.pem", folder / "key.pem")


class Listener:
    """Accepts connections on a free port of the loopback, one after another, until its end.

    With a certificate it shakes hands; else it says `greeting` and closes.
    """

    def __init__(
        self,
        certificate: Certificate | None = None,
        alpn: tuple[str, ...] = ("h2",),
        greeting: bytes = b"",
    ) -> None:
        self._context = None if certificate is None else _context(certificate, alpn)
        self._greeting = greeting
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # how `accept` ends
            while True:
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        if self._context is None:
            connection.sendall(self._greeting)
            return
        with self._context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)


def _context(certificate: Certificate, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.pem, certificate.key)
    context.set_alpn_protocols(list(alpn))
    return context
