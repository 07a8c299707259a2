"""Certificates for tests: an authority that signs what it is told to."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID_DAYS = 100  # and since yesterday
LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


class Pair:
    """A certificate and its key, as PEM."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self.key = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def write(self, folder: Path) -> tuple[Path, Path]:
        """As files there, whose names are the same each time."""
        certificate, key = folder / "server.pem", folder / "server.key"
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)
        key.chmod(0o600)
        return certificate, key


class Authority:
    """Signs certificates; `pem` is what others trust."""

    def __init__(self, name: str = "authority") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = _signed(self._name, self._key.public_key(), self._name, self._key, None)
        self.pem = self._own.public_bytes(serialization.Encoding.PEM)

    def server(self) -> Pair:
        """For a service on the loopback."""
        return self._issue("service", [LOOPBACK])

    def client(self, common_name: str | None, *alternative_names: str) -> Pair:
        """For a caller with these names."""
        return self._issue(common_name, [x509.DNSName(name) for name in alternative_names])

    def _issue(self, common_name: str | None, names: list[x509.GeneralName]) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [] if common_name is None else [(NameOID.COMMON_NAME, common_name)]
        subject = x509.Name([x509.NameAttribute(*each) for each in attributes])
        return Pair(_signed(subject, key.public_key(), self._name, self._key, names), key)


def _signed(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName] | None,
) -> x509.Certificate:
    """One that is valid today; without `names` it is an authority's."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())
