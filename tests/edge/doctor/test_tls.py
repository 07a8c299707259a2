"""What the doctor says of certificates, by real handshakes on the loopback."""

import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.edge.doctor.certificates import (
    LASTING,
    OVER,
    TO_COME,
    Certificate,
    Listener,
    make_certificate,
)
from tests.edge.doctor.machine import assert_bad

from isthmus import ConfigError
from isthmus_edge.doctor.examination import Check, examine
from isthmus_edge.doctor.finding import Finding
from isthmus_edge.doctor.network import Address, Network, SystemNetwork
from isthmus_edge.doctor.tls import TlsLook, speaks_tls

END_S = 4102444800  # of certificates that last: 2100-01-01


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls") / "lasting")


def look(
    listener: Listener,
    ca: Path,
    host: str = "localhost",
    wall_s: Callable[[], float] = time.time,
    network: Network | None = None,
) -> Finding:
    address = Address("IPv4", "127.0.0.1", listener.port)
    made = network or SystemNetwork()
    return TlsLook(network=made, address=address, host=host, ca=ca, wall_s=wall_s).look()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_good_certificate_is_fine_and_tells_its_days(lasting: Certificate, host: str) -> None:
    with Listener(lasting) as listener:
        finding = look(listener, lasting.pem, host, lambda: END_S - 100 * 86_400)
    assert (finding.state, finding.figures["days_left"]) == ("ok", 100)


def test_a_certificate_that_soon_expires_is_a_warning(lasting: Certificate) -> None:
    with Listener(lasting) as listener:
        finding = look(listener, lasting.pem, wall_s=lambda: END_S - 5 * 86_400)
    assert_bad(finding, "warn", "5 more days")


def test_an_expired_certificate_is_found(tmp_path: Path) -> None:
    expired = make_certificate(tmp_path / "expired", OVER)
    with Listener(expired) as listener:
        finding = look(listener, expired.pem)
    assert_bad(finding, "fail", "expired", "2021")
    assert finding.figures["reason"] == "expired"


def test_a_certificate_of_tomorrow_means_that_the_clock_is_too_early(tmp_path: Path) -> None:
    early = make_certificate(tmp_path / "early", TO_COME)
    with Listener(early) as listener:
        finding = look(listener, early.pem)
    assert_bad(finding, "fail", "2099", "clock here is too early")


def test_a_wrong_name_is_found_and_the_right_ones_are_told(tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other", names="DNS:cloud.example")
    with Listener(other) as listener:
        finding = look(listener, other.pem)
    assert_bad(finding, "fail", "localhost", "cloud.example")
    assert finding.figures["reason"] == "name"


@pytest.mark.parametrize(
    ("dates", "told"), [(OVER, "2021"), (TO_COME, "2099")], ids=["expired", "not yet valid"]
)
def test_a_wrong_name_and_a_wrong_date_are_both_told(
    tmp_path: Path, dates: tuple[str, str], told: str
) -> None:
    other = make_certificate(tmp_path / "other", dates, names="DNS:cloud.example")
    with Listener(other) as listener:
        finding = look(listener, other.pem)
    assert_bad(finding, "fail", "localhost", "cloud.example", told)
    assert finding.figures["reason"] == "name"


@dataclass
class ClosingNetwork(SystemNetwork):
    """Connects once, and then never again."""

    left: int = 1

    def connect(self, address: Address, longest_s: float) -> socket.socket:
        self.left -= 1
        if self.left < 0:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        return super().connect(address, longest_s)


@pytest.mark.parametrize(
    ("dates", "names", "reason"),
    [
        (OVER, "DNS:localhost", "expired"),
        (TO_COME, "DNS:localhost", "not yet valid"),
        (LASTING, "DNS:cloud.example", "name"),
    ],
)
def test_a_refused_certificate_is_found_though_it_is_not_shown_again(
    tmp_path: Path, dates: tuple[str, str], names: str, reason: str
) -> None:
    made = make_certificate(tmp_path / "made", dates, names)
    with Listener(made) as listener:
        finding = look(listener, made.pem, network=ClosingNetwork())
    assert_bad(finding, "fail")
    assert finding.figures["reason"] == reason


def test_a_stranger_is_not_trusted(lasting: Certificate, tmp_path: Path) -> None:
    stranger = make_certificate(tmp_path / "stranger")
    with Listener(stranger) as listener:
        finding = look(listener, lasting.pem)
    assert_bad(finding, "fail", "certificate.pem")
    assert finding.figures["reason"] == "untrusted"


def test_a_service_in_plain_text_is_found(lasting: Certificate) -> None:
    with Listener(greeting=b"HTTP/1.0 400 Bad Request\r\n\r\n") as listener:
        finding = look(listener, lasting.pem)
    assert finding.state == "fail"
    assert "--insecure" in str(finding.way_out)


def test_a_proxy_that_does_not_speak_http_2_is_found(lasting: Certificate) -> None:
    with Listener(lasting, alpn=("http/1.1",)) as listener:
        finding = look(listener, lasting.pem)
    assert_bad(finding, "fail", "no HTTP/2")


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_without_certificates_is_a_mistake_in_the_flags(
    lasting: Certificate, tmp_path: Path, text: str | None
) -> None:
    ca = tmp_path / "ca.pem"
    if text is not None:
        ca.write_text(text, encoding="ascii")
    with Listener(lasting) as listener, pytest.raises(ConfigError, match=r"ca\.pem"):
        look(listener, ca)


def test_a_key_in_place_of_a_certificate_has_a_way_out_of_its_own(lasting: Certificate) -> None:
    with Listener(lasting) as listener:
        check = Check("link", "?", lambda: [look(listener, lasting.key)])
        (finding,) = examine([check])
    assert_bad(finding, "fail", "key.pem", "no certificate")
    assert str(finding.way_out).startswith("give --tls-ca the file with the certificate")


def test_whether_a_service_speaks_tls_can_be_tried(lasting: Certificate) -> None:
    network = SystemNetwork()
    with Listener(lasting) as secure, Listener(greeting=b"hello") as plain:
        assert speaks_tls(network, Address("IPv4", "127.0.0.1", secure.port))
        assert not speaks_tls(network, Address("IPv4", "127.0.0.1", plain.port))
