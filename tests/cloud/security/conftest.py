"""Certificates, once for all of these tests, and a configuration that needs no bundle."""

from pathlib import Path

import pytest
from tests.cloud.security.authority import Authority, Pair

from isthmus_cloud import ServiceConfig


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def server_pair(authority: Authority) -> Pair:
    return authority.server()


@pytest.fixture
def plain() -> ServiceConfig:
    return ServiceConfig(bundle=Path("none"))


@pytest.fixture
def over_tls(tmp_path: Path, server_pair: Pair) -> ServiceConfig:
    certificate, key = server_pair.write(tmp_path)
    return ServiceConfig(bundle=Path("none"), tls_certificate=certificate, tls_key=key)


@pytest.fixture
def mutual(over_tls: ServiceConfig, tmp_path: Path, authority: Authority) -> ServiceConfig:
    """TLS that asks callers for certificates of the authority."""
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(authority.pem)
    return ServiceConfig(
        bundle=over_tls.bundle,
        tls_certificate=over_tls.tls_certificate,
        tls_key=over_tls.tls_key,
        client_ca=client_ca,
    )
