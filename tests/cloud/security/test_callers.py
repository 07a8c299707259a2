"""Who calls and how it is sent away, over real gRPC; and that no token is ever written down."""

import logging
from datetime import UTC, datetime

import grpc
import pytest
from tests.cloud.security.authority import Authority, Pair
from tests.cloud.security.probe import Metadata, Probe, Told, ask, bearer, probing

from isthmus_cloud import ServiceConfig
from isthmus_cloud.security import CertificateGuard, OpenDoor, TokenGuard
from isthmus_cloud.security.tokens import Entry, Token, digest_of, new_token

SECRET = {name: new_token() for name in ("camera", "anna", "stolen")}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def token_guard(*, certificates: bool = False) -> TokenGuard:
    guard = TokenGuard(certificates=certificates)
    guard.use(
        [
            Entry(
                name="camera", tokens=(Token(sha256=digest_of(SECRET["camera"])),), max_streams=1
            ),
            Entry(name="anna", role="operator", tokens=(Token(sha256=digest_of(SECRET["anna"])),)),
            Entry(
                name="old",
                tokens=(Token(sha256=digest_of(SECRET["stolen"]), not_after=LONG_AGO),),
            ),
            Entry(name="sealed", certificate=True),
        ]
    )
    return guard


def channel(authority: Authority, pair: Pair | None = None) -> grpc.ChannelCredentials:
    if pair is None:
        return grpc.ssl_channel_credentials(authority.pem)
    return grpc.ssl_channel_credentials(authority.pem, pair.key, pair.certificate)


async def test_a_token_opens_over_tls(over_tls: ServiceConfig, authority: Authority) -> None:
    async with probing(Probe(token_guard()), over_tls) as address:
        told = await ask(address, channel(authority), bearer(SECRET["camera"]))
    assert told == Told(name="camera")


@pytest.mark.parametrize(
    ("metadata", "role", "code", "words"),
    [
        ((), b"device", grpc.StatusCode.UNAUTHENTICATED, "authorization: Bearer TOKEN"),
        (bearer("x"), b"device", grpc.StatusCode.UNAUTHENTICATED, "not valid here"),
        (bearer(SECRET["stolen"]), b"device", grpc.StatusCode.UNAUTHENTICATED, "not valid here"),
        (bearer(SECRET["camera"]), b"operator", grpc.StatusCode.PERMISSION_DENIED, "operators"),
        (
            (*bearer(SECRET["camera"]), *bearer(SECRET["anna"])),
            b"device",
            grpc.StatusCode.UNAUTHENTICATED,
            "not valid here",
        ),
        (
            (("authorization-bin", SECRET["camera"].encode()),),
            b"device",
            grpc.StatusCode.UNAUTHENTICATED,
            "authorization: Bearer TOKEN",
        ),
    ],
    ids=["nothing", "unknown", "over", "role", "two of them", "binary"],
)
async def test_who_may_not_come_in_is_told_by_status(
    plain: ServiceConfig, metadata: Metadata, role: bytes, code: grpc.StatusCode, words: str
) -> None:
    async with probing(Probe(token_guard()), plain) as address:
        told = await ask(address, metadata=metadata, role=role)
    assert (told.code, told.retry_after_ms) == (code, None)
    assert words in told.text


async def test_who_may_come_back_is_told_when(plain: ServiceConfig) -> None:
    async with probing(Probe(token_guard()), plain) as address:
        assert (await ask(address, metadata=bearer(SECRET["camera"]))).name == "camera"
        told = await ask(address, metadata=bearer(SECRET["camera"]))
    assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert told.retry_after_ms == 5000


async def test_the_caller_is_told_nothing_of_the_inside(plain: ServiceConfig) -> None:
    async with probing(Probe(token_guard()), plain) as address:
        unknown = await ask(address, metadata=bearer(new_token()))
        over = await ask(address, metadata=bearer(SECRET["stolen"]))
    assert unknown == over


async def test_a_certificate_names_who_calls(mutual: ServiceConfig, authority: Authority) -> None:
    probe = Probe(CertificateGuard())
    async with probing(probe, mutual) as address:
        named = channel(authority, authority.client("camera", "b.fleet", "camera"))
        assert (await ask(address, named)).name == "camera"
        unnamed = channel(authority, authority.client(None, "only.alternative"))
        assert (await ask(address, unnamed)).name == "only.alternative"
        nothing = await ask(address, channel(authority, authority.client("two words")))
    assert nothing.code is grpc.StatusCode.UNAUTHENTICATED
    assert probe.callers[0].certificate_names == ("camera", "b.fleet")
    assert probe.callers[0].peer.startswith("ipv4:127.0.0.1:")


async def test_without_a_client_ca_no_certificate_is_believed(
    over_tls: ServiceConfig, authority: Authority
) -> None:
    probe = Probe(OpenDoor())
    async with probing(probe, over_tls) as address:
        await ask(address, channel(authority, authority.client("camera")))
        forged = (("x509_common_name", "camera"),)
        await ask(address, channel(authority), forged)
    assert [caller.certificate_names for caller in probe.callers] == [(), ()]


async def test_a_stranger_does_not_get_as_far_as_the_guard(
    mutual: ServiceConfig, authority: Authority
) -> None:
    probe = Probe(token_guard(certificates=True))
    stranger = Authority("authority").client("camera")  # of another authority of that name
    async with probing(probe, mutual) as address:
        for pair in (stranger, None):
            told = await ask(address, channel(authority, pair), bearer(SECRET["camera"]))
            assert told.code is grpc.StatusCode.UNAVAILABLE
    assert probe.callers == []


async def test_a_token_is_worth_nothing_with_the_certificate_of_another(
    mutual: ServiceConfig, authority: Authority
) -> None:
    async with probing(Probe(token_guard(certificates=True)), mutual) as address:
        camera = channel(authority, authority.client("camera"))
        assert (await ask(address, camera, bearer(SECRET["camera"]))).name == "camera"
        told = await ask(address, camera, bearer(SECRET["anna"]))
        assert told.code is grpc.StatusCode.UNAUTHENTICATED
        sealed = channel(authority, authority.client("sealed"))
        assert (await ask(address, sealed)).name == "sealed"


async def test_no_token_is_written_to_the_log_on_any_way(
    mutual: ServiceConfig, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Valid, over, unknown, of another's certificate, too often, in the wrong role, malformed."""
    unknown = new_token()
    camera = channel(authority, authority.client("camera"))
    with caplog.at_level(logging.DEBUG):
        async with probing(Probe(token_guard(certificates=True)), mutual) as address:
            for secret in (*SECRET.values(), unknown, SECRET["camera"] * 9):
                for role in (b"device", b"device", b"operator"):
                    await ask(address, camera, bearer(secret), role)
                await ask(address, camera, (("authorization", secret),))
    written = [record.getMessage() + repr(vars(record)) for record in caplog.records]
    assert not [line for line in written for token in (*SECRET.values(), unknown) if token in line]
    refused = [vars(each)["fields"] for each in caplog.records if each.message == "refused"]
    assert len(refused) == 19  # of 20 calls one was let in
    told = {(fields.get("identity"), fields["why"]) for fields in refused}
    assert told >= {
        ("camera", "streams"),
        ("old", "token"),
        (None, "token"),
        ("anna", "certificate"),
    }


async def test_too_many_headers_are_refused_before_anybody_reads_them(plain: ServiceConfig) -> None:
    probe = Probe(OpenDoor())
    async with probing(probe, plain) as address:
        told = await ask(address, metadata=(("x", "y" * 9000),))
        assert told.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await ask(address, metadata=(("x", "y" * 7000),))).code is grpc.StatusCode.OK
    assert len(probe.callers) == 1
