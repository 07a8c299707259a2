"""The service's configuration is refused at the border, with the way out."""

import os
from pathlib import Path
from typing import Any

import pytest

from isthmus import ConfigError
from isthmus.web import WebConfig
from isthmus_cloud import ServiceConfig

PEM = Path("some.pem")


def config(**fields: Any) -> ServiceConfig:
    return ServiceConfig(bundle=Path("bundle"), **fields)


def test_the_defaults_are_safe() -> None:
    plain = config()
    assert plain.listen == "127.0.0.1:0"
    assert plain.insecure is False
    assert plain.threads == (os.cpu_count() or 1)
    assert plain.workers == min(2, plain.threads)


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.9.9.9:0", "localhost:50051", "[::1]:0"])
def test_the_loopback_needs_no_tls(listen: str) -> None:
    assert config(listen=listen).listen == listen


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:50051", "[::]:50051", "192.0.2.7:1", "cloud.example:1", "localhost.x:1"]
)
def test_off_the_loopback_tls_or_a_clear_word_is_required(listen: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"TLS certificate and key \(--tls-cert, --tls-key\), or allow it with insecure",
    ):
        config(listen=listen)
    assert config(listen=listen, insecure=True)
    assert config(listen=listen, tls_certificate=PEM, tls_key=PEM)


@pytest.mark.parametrize("listen", ["", "50051", ":50051", "127.0.0.1", "h:x", "h:65536", "h:-1"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        config(listen=listen)


def test_the_page_has_an_address_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"page \(--http\) cannot be on 127.0.0.1:50051"):
        config(listen="127.0.0.1:50051", web=WebConfig(listen="127.0.0.1:50051"))
    assert config(listen="127.0.0.1:0", web=WebConfig(listen="127.0.0.1:0"))
    assert config(listen="127.0.0.1:50051", web=WebConfig(listen="127.0.0.1:50052"))


def test_a_time_out_of_its_range_is_named_with_the_range() -> None:
    with pytest.raises(ConfigError, match=r"idle_s is 0\.5; allowed is 1 to 3600"):
        config(idle_s=0.5)


def test_a_count_out_of_its_range_is_named_with_the_range() -> None:
    """What gRPC keeps in 32 bits would else end in a traceback."""
    with pytest.raises(ConfigError, match="max_streams is 0; allowed is 1 to 1000000"):
        config(max_streams=0)
    with pytest.raises(ConfigError, match="max_message_bytes is 2147483648; allowed is 1 to 2147"):
        config(max_message_bytes=2**31)


def test_keeping_nothing_for_a_resume_is_allowed() -> None:
    assert config(resume_s=0).resume_s == 0


@pytest.mark.parametrize("half", [{"tls_certificate": PEM}, {"tls_key": PEM}])
def test_half_of_tls_is_refused(half: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="TLS needs both"):
        config(**half)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", 0),
        ("window", 1025),
        ("threads", -1),
        ("workers", 0),
        ("max_bytes_in_flight", 0),
        ("drain_grace_s", -0.1),
        ("drain_grace_s", float("nan")),
        ("max_parked", 0),
        ("max_streams", 0),
        ("max_connections", 2**31),
        ("max_batch", 0),
        ("decoders", -1),
        ("threads", 10**6),
        ("resume_s", -1),
        ("resume_s", float("inf")),
        ("idle_s", 0.9),
        ("idle_s", float("nan")),
        ("hello_s", 0),
        ("provider", "tpu"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        config(**{field: value})
