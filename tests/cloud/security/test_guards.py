"""Who is let in, as what, and with what words the others are sent away."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from isthmus_cloud.security import (
    ANYBODY,
    Caller,
    CertificateGuard,
    DeniedError,
    DeviceDoor,
    Guard,
    OpenDoor,
    TokenGuard,
)
from isthmus_cloud.security.tokens import Entry, Token, digest_of, limited, new_token

SECRET = {name: new_token() for name in ("camera", "anna", "spare", "old", "gone")}
START = datetime(2030, 1, 1, tzinfo=UTC)
ENTRIES = (
    Entry(name="camera", tokens=(Token(sha256=digest_of(SECRET["camera"])),), max_streams=1),
    Entry(name="anna", role="operator", tokens=(Token(sha256=digest_of(SECRET["anna"])),)),
    Entry(
        name="two",
        tokens=(
            Token(sha256=digest_of(SECRET["old"]), not_after=START + timedelta(hours=1)),
            Token(sha256=digest_of(SECRET["spare"])),
        ),
    ),
    Entry(name="gone", tokens=(Token(sha256=digest_of(SECRET["gone"])),), revoked=True),
    Entry(name="sealed", certificate=True, max_in_flight=1),
)


class Times:
    """The time of day and the monotonic one, as the test says."""

    def __init__(self) -> None:
        self.now = START


@pytest.fixture
def times() -> Times:
    return Times()


def token_guard(times: Times, **settings: Any) -> TokenGuard:
    guard = TokenGuard(now=lambda: times.now, clock=lambda: 0.0, **settings)
    guard.use(ENTRIES)
    return guard


@pytest.fixture
def guard(times: Times) -> TokenGuard:
    return token_guard(times)


@pytest.fixture
def strict(times: Times) -> TokenGuard:
    return token_guard(times, certificates=True)


def bearing(token: str, *names: str, scheme: str = "Bearer ") -> Caller:
    return Caller(
        peer="ipv4:192.0.2.1:5", metadata={"authorization": scheme + token}, certificate_names=names
    )


def with_certificate(*names: str) -> Caller:
    return Caller(peer="ipv4:192.0.2.1:5", certificate_names=names)


def denied(call: Callable[[], object]) -> DeniedError:
    with pytest.raises(DeniedError) as caught:
        call()
    return caught.value


def test_a_token_says_who_it_is_and_what_it_may_have(guard: TokenGuard) -> None:
    camera = guard.admit(bearing(SECRET["camera"]), "device")
    assert (camera.name, camera.role, camera.max_streams) == ("camera", "device", 1)


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER  ", " Bearer "])
def test_the_scheme_is_read_as_http_reads_it(guard: TokenGuard, scheme: str) -> None:
    assert guard.admit(bearing(SECRET["anna"], scheme=scheme), "device").name == "anna"


def test_an_operator_may_what_a_device_may_and_not_the_other_way_round(guard: TokenGuard) -> None:
    assert guard.admit(bearing(SECRET["anna"]), "device").role == "operator"
    assert guard.admit(bearing(SECRET["anna"]), "operator").name == "anna"
    error = denied(lambda: guard.admit(bearing(SECRET["camera"]), "operator"))
    assert (error.why, error.identity, error.retry_after_s) == ("role", "camera", None)
    assert "the token or the certificate of an operator" in str(error)


@pytest.mark.parametrize(
    "caller",
    [
        Caller(peer="p"),
        bearing(""),
        bearing("", scheme="Bearer"),
        bearing(SECRET["camera"], scheme=""),
        bearing(SECRET["camera"], scheme="Basic "),
        bearing("x" * 10_000),
        with_certificate("sealed"),
    ],
)
def test_without_a_token_it_is_said_how_to_send_one(guard: TokenGuard, caller: Caller) -> None:
    error = denied(lambda: guard.admit(caller, "device"))
    assert error.why == "token"
    assert "authorization: Bearer TOKEN" in str(error)


def test_tokens_that_do_not_hold_are_all_told_the_same(guard: TokenGuard, times: Times) -> None:
    times.now += timedelta(hours=1)
    wrong = [new_token(), SECRET["old"], SECRET["gone"], SECRET["camera"][:-1], "é", "a b", "\x00"]
    wrong.append(digest_of(SECRET["camera"]))  # what stands in the file opens nothing
    wrong.append(f"{SECRET['camera']}, Bearer {SECRET['camera']}")  # sent twice
    errors = [denied(lambda w=each: guard.admit(bearing(w), "device")) for each in wrong]  # type: ignore[misc]
    assert {(str(error), error.why) for error in errors} == {(str(errors[0]), "token")}
    assert [error.identity for error in errors[:3]] == ["", "two", ""]


def test_during_a_rotation_both_tokens_hold_until_the_old_one_ends(
    guard: TokenGuard, times: Times
) -> None:
    old, new = bearing(SECRET["old"]), bearing(SECRET["spare"])
    assert guard.admit(old, "device").name == guard.admit(new, "device").name == "two"
    times.now += timedelta(hours=1)
    assert denied(lambda: guard.admit(old, "device")).why == "token"
    assert guard.admit(new, "device").name == "two"


def test_who_is_taken_out_of_the_file_is_shut_out_at_once(guard: TokenGuard) -> None:
    camera = guard.admit(bearing(SECRET["camera"]), "device")
    guard.stream(camera)
    guard.frame(camera)
    guard.use([entry for entry in ENTRIES if entry.name != "camera"])
    assert denied(lambda: guard.admit(bearing(SECRET["camera"]), "device")).why == "token"
    error = denied(lambda: guard.frame(camera))
    assert (error.why, error.identity) == ("token", "camera")
    guard.frame_ended(camera)
    guard.stream_ended(camera)


def test_a_stream_does_not_outlive_the_token_that_opened_it(
    guard: TokenGuard, times: Times
) -> None:
    old = guard.admit(bearing(SECRET["old"]), "device")
    new = guard.admit(bearing(SECRET["spare"]), "device")
    times.now += timedelta(hours=1)
    assert denied(lambda: guard.frame(old)).why == "token"
    guard.frame(new)


def test_limits_are_those_of_the_identity(guard: TokenGuard) -> None:
    camera = guard.admit(bearing(SECRET["camera"]), "device")
    guard.stream(camera)
    assert denied(lambda: guard.stream(camera)).why == "streams"
    guard.stream_ended(camera)
    guard.stream(camera)


def test_other_limits_hold_for_the_next_frame_of_an_open_stream(guard: TokenGuard) -> None:
    camera = guard.admit(bearing(SECRET["camera"]), "device")
    guard.stream(camera)
    guard.frame(camera)
    guard.use(limited(ENTRIES, "camera", {"max_in_flight": 1}))
    assert denied(lambda: guard.frame(camera)).why == "in_flight"
    guard.use(ENTRIES)
    guard.frame(camera)


def test_a_stream_does_not_outlive_the_name_of_its_token(guard: TokenGuard) -> None:
    camera = guard.admit(bearing(SECRET["camera"]), "device")
    guard.stream(camera)
    guard.frame(camera)
    guard.use([replace(each, name="camera-1") for each in ENTRIES if each.name == "camera"])
    assert not guard.holds(camera)
    assert denied(lambda: guard.frame(camera)).why == "token"
    guard.frame_ended(camera)
    guard.stream_ended(camera)


def test_with_certificates_the_token_must_be_of_the_same_name(strict: TokenGuard) -> None:
    assert strict.admit(bearing(SECRET["camera"], "x", "camera"), "device").name == "camera"
    for names in ((), ("anna",), ("camera2",)):
        error = denied(lambda n=names: strict.admit(bearing(SECRET["camera"], *n), "device"))  # type: ignore[misc]
        assert (error.why, error.identity) == ("certificate", "camera")


def test_an_entry_can_say_that_its_certificate_is_enough(
    strict: TokenGuard, guard: TokenGuard
) -> None:
    sealed = strict.admit(with_certificate("other", "sealed"), "device")
    assert (sealed.name, sealed.max_in_flight) == ("sealed", 1)
    strict.stream(sealed)
    strict.frame(sealed)
    assert denied(lambda: strict.admit(with_certificate("camera"), "device")).why == "token"
    strict.use([])
    assert denied(lambda: strict.frame(sealed)).why == "token"
    assert denied(lambda: guard.admit(with_certificate("sealed"), "device")).why == "token"


def test_a_certificate_alone_makes_a_device_of_its_first_usable_name() -> None:
    guard = CertificateGuard()
    named = guard.admit(with_certificate("", "two words", "camera", "b"), "device")
    assert (named.name, named.role) == ("camera", "device")
    error = denied(lambda: guard.admit(with_certificate("camera"), "operator"))
    assert error.why == "role"
    assert "start it with --tokens FILE" in str(error)
    for names in ((), ("",), ("a\nb",)):
        error = denied(lambda n=names: guard.admit(with_certificate(*n), "device"))  # type: ignore[misc]
        assert error.why == "certificate"


def test_where_nobody_is_asked_there_are_no_operators_from_elsewhere() -> None:
    assert OpenDoor().admit(Caller(peer="p"), "operator") == ANYBODY
    assert DeviceDoor().admit(Caller(peer="p"), "device").role == "device"
    error = denied(lambda: DeviceDoor().admit(Caller(peer="p"), "operator"))
    assert error.why == "role"
    assert "--tokens" in str(error)


@pytest.mark.parametrize("door", [OpenDoor(), DeviceDoor(), CertificateGuard()])
def test_doors_that_know_no_limits_refuse_no_frame(door: Guard) -> None:
    identity = door.admit(with_certificate("camera"), "device")
    door.stream(identity)
    door.frame(identity)
    door.frame_ended(identity)
    door.stream_ended(identity)


def test_no_token_is_in_any_representation(guard: TokenGuard) -> None:
    caller = bearing(SECRET["camera"])
    identity = guard.admit(caller, "device")
    refused = denied(lambda: guard.admit(bearing(SECRET["gone"]), "device"))
    shown = [repr(each) for each in (caller, identity, refused, guard, vars(refused))]
    assert not [secret for secret in SECRET.values() for text in shown if secret in text]


def test_every_token_is_compared_once_and_whole_whoever_comes(
    guard: TokenGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(kept: str, given: str) -> bool:
        compared.append((len(kept), len(given)))
        return kept == given

    monkeypatch.setattr("isthmus_cloud.security.guards.hmac.compare_digest", compare)
    guard.admit(bearing(SECRET["camera"]), "device")
    for wrong in (new_token(), SECRET["gone"], "x"):
        denied(lambda w=wrong: guard.admit(bearing(w), "device"))  # type: ignore[misc]
    assert compared == [(64, 64)] * 4
