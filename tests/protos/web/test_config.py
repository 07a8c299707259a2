"""What the web server is told: nothing is shown to a network by mistake."""

import errno
import os
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.cloud.security.authority import Authority
from tests.edge.doctor.certificates import OVER, TO_COME, make_certificate
from tests.protos.web.asking import TOKEN

from isthmus import ConfigError
from isthmus.addresses import split_address
from isthmus.web import WebConfig, read_token
from isthmus.web.config import tls_context

PEM, KEY = Path("c.pem"), Path("k.pem")
ANYWHERE = "0.0.0.0:8080"


def test_on_this_machine_nothing_is_needed() -> None:
    for listen in ("127.0.0.1:0", "localhost:8080", "[::1]:8080"):
        assert not WebConfig(listen=listen).has_tls
    assert (WebConfig(listen="[::1]:81").host, WebConfig(listen="[::1]:81").port) == ("::1", 81)


@pytest.mark.parametrize("listen", [ANYWHERE, "[::]:80", "10.0.0.7:80", "gpu.example:80"])
def test_beyond_this_machine_it_takes_tls_and_a_token_or_a_word(listen: str) -> None:
    for less in (
        WebConfig,
        lambda listen: WebConfig(listen=listen, token=TOKEN),
        lambda listen: WebConfig(listen=listen, tls_certificate=PEM, tls_key=KEY),
    ):
        with pytest.raises(ConfigError, match=r"TLS certificate.*token.*insecure.*ssh"):
            less(listen=listen)
    assert WebConfig(listen=listen, tls_certificate=PEM, tls_key=KEY, token=TOKEN).has_tls
    assert WebConfig(listen=listen, insecure=True).token is None


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "with a space in it", "\u00fc" * 20])
def test_a_token_that_can_be_guessed_or_sent_by_nobody_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="openssl rand"):
        WebConfig(token=token)


def test_half_of_tls_and_a_bound_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="both"):
        WebConfig(tls_key=KEY)
    with pytest.raises(ConfigError, match="max_connections is 0"):
        WebConfig(max_connections=0)


def test_a_token_never_shows_in_the_text_of_the_settings() -> None:
    assert TOKEN not in repr(WebConfig(token=TOKEN))


def test_a_token_is_read_from_a_file_without_the_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"\n{TOKEN}\n")
    assert read_token(file) == TOKEN


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 20, b"x" * 5000])
def test_a_file_without_a_token_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{file}: holds no token") as caught:
        read_token(file)
    assert not content or content.decode("latin-1") not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nonsense")
    (tmp_path / "k.pem").write_text("nonsense")
    for certificate in ("none.pem", "c.pem"):
        config = WebConfig(tls_certificate=tmp_path / certificate, tls_key=tmp_path / "k.pem")
        with pytest.raises(ConfigError, match=rf"{certificate}.*unencrypted key"):
            tls_context(config)
    assert tls_context(WebConfig()) is None


def test_a_certificate_that_is_over_is_refused_with_its_date(tmp_path: Path) -> None:
    over = make_certificate(tmp_path / "over", OVER)
    words = rf"{over.pem} was valid until 2021-01-01 00:00 UTC, and it is {datetime.now(UTC):%Y}-"
    with pytest.raises(ConfigError, match=words):
        tls_context(WebConfig(tls_certificate=over.pem, tls_key=over.key))


def test_a_certificate_that_is_not_valid_yet_is_told_and_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock of this machine may be the one that is wrong."""
    early = make_certificate(tmp_path / "early", TO_COME)
    assert tls_context(WebConfig(tls_certificate=early.pem, tls_key=early.key)) is not None
    (line,) = caplog.messages
    assert f"{early.pem} is valid from 2099-01-01 00:00 UTC on" in line
    assert "is the clock of this machine right?" in line


def test_a_certificate_that_another_signed_is_used_and_nothing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority()
    pem, key = authority.server().write(tmp_path)
    for more in (b"", authority.pem):  # with and without who signed it
        pem.write_bytes(pem.read_bytes() + more)
        assert tls_context(WebConfig(tls_certificate=pem, tls_key=key)) is not None
    assert caplog.messages == []


def test_a_certificate_that_is_not_for_servers_is_refused(tmp_path: Path) -> None:
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=camera"
    words += " -addext extendedKeyUsage=clientAuth -keyout key.pem -out certificate.pem"
    subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    pem, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    with pytest.raises(ConfigError, match=rf"{pem}: .*purpose; give one that is for servers"):
        tls_context(WebConfig(tls_certificate=pem, tls_key=key))


@pytest.mark.parametrize("address", ["", "host", ":1", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_not_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        split_address(address)


def test_a_file_that_may_not_be_read_is_named_with_who_has_to_be_let(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(ConfigError, match=rf"token: .*Permission denied.*user \({os.geteuid()}\)"):
        read_token(tmp_path / "token")
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", refused)
    settings = WebConfig(tls_certificate=tmp_path / "c", tls_key=tmp_path / "k")
    with pytest.raises(ConfigError, match=rf"Permission denied; let .* \({os.geteuid()}\) read it"):
        tls_context(settings)
