"""`isthmus tokens`: a token is shown once and kept nowhere, and what is wrong is said."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.commands import assert_explained

from isthmus_cloud.security import Caller, DeniedError, TokenGuard
from isthmus_cloud.security.tokens import digest_of
from isthmus_cloud.security.tokens_file import read_tokens


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.jsonl"


def admitted(file: Path, token: str, later: timedelta = timedelta()) -> str | None:
    """Whom a service with this file lets in with this token, or None."""
    guard = TokenGuard(now=lambda: datetime.now(UTC) + later)
    guard.use(read_tokens(file))
    caller = Caller(peer="p", metadata={"authorization": f"Bearer {token}"})
    try:
        return guard.admit(caller, "device").name
    except DeniedError:
        return None


def test_the_token_alone_is_printed_and_opens(isthmus: Isthmus, file: Path) -> None:
    ended = isthmus("tokens", "add", "camera-7", "--file", file)
    token = ended.out.strip()
    assert ended.status == 0
    assert "shown this once" in ended.err
    assert admitted(file, token) == "camera-7"
    assert token not in file.read_text()
    assert token not in isthmus("tokens", "list", "--file", file, "--json").out


def test_a_token_can_go_to_a_file_of_its_owners_alone(
    isthmus: Isthmus, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "camera.token"
    ended = isthmus("tokens", "add", "camera", "--file", file, "--out", out)
    assert (ended.status, ended.out) == (0, "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    first = out.read_text().strip()
    assert admitted(file, first) == "camera"
    isthmus("tokens", "rotate", "camera", "--file", file, "--out", out)
    assert admitted(file, out.read_text().strip()) == "camera"
    assert out.read_text().strip() != first
    assert sorted(tmp_path.iterdir()) == [out, file]


def test_what_is_there_is_not_written_over(isthmus: Isthmus, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "camera.token"
    out.write_text("precious")
    ended = isthmus("tokens", "add", "camera", "--file", file, "--out", out)
    assert_explained(ended, str(out), "there already")
    assert out.read_text() == "precious"
    assert not file.exists()


def test_where_the_token_cannot_be_written_nobody_is_added(
    isthmus: Isthmus, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "nowhere" / "camera.token"
    ended = isthmus("tokens", "add", "camera", "--file", file, "--out", out)
    assert_explained(ended, str(out), "cannot be written")
    assert not file.exists()


def test_after_a_rotation_the_old_token_holds_for_the_grace(isthmus: Isthmus, file: Path) -> None:
    old = isthmus("tokens", "add", "camera", "--file", file).out.strip()
    new = isthmus("tokens", "rotate", "camera", "--file", file, "--grace-h", 2).out.strip()
    for later_h, expected in ((1.9, ["camera", "camera"]), (2.1, [None, "camera"])):
        later = timedelta(hours=later_h)
        assert [admitted(file, token, later) for token in (old, new)] == expected


def test_a_rotation_without_grace_ends_the_old_token(isthmus: Isthmus, file: Path) -> None:
    old = isthmus("tokens", "add", "camera", "--file", file).out.strip()
    isthmus("tokens", "rotate", "camera", "--file", file, "--grace-h", 0)
    assert admitted(file, old) is None


def test_a_token_for_some_days_ends(isthmus: Isthmus, file: Path) -> None:
    ended = isthmus("tokens", "add", "anna", "--file", file, "--valid-days", 2, "--json")
    shown = json.loads(ended.out)
    assert shown["name"] == "anna"
    assert datetime.fromisoformat(shown["not_after"]) > datetime.now(UTC)
    assert admitted(file, shown["token"], timedelta(days=1.9)) == "anna"
    assert admitted(file, shown["token"], timedelta(days=2.1)) is None


def test_who_is_revoked_is_shut_out_until_somebody_says_again(
    isthmus: Isthmus, file: Path, tmp_path: Path
) -> None:
    old = isthmus("tokens", "add", "camera", "--file", file).out.strip()
    assert isthmus("tokens", "revoke", "camera", "--file", file).status == 0
    assert admitted(file, old) is None
    assert "revoked" in isthmus("tokens", "list", "--file", file).out
    out = tmp_path / "camera.token"
    refused = isthmus("tokens", "add", "camera", "--file", file, "--out", out)
    assert_explained(refused, "camera was revoked", "isthmus tokens add camera --again")
    assert not out.exists()
    assert "revoked" in isthmus("tokens", "list", "--file", file).out
    new = isthmus("tokens", "add", "camera", "--file", file, "--again").out.strip()
    assert [admitted(file, token) for token in (old, new)] == [None, "camera"]


def test_a_certificate_that_was_revoked_needs_to_be_added_again_too(
    isthmus: Isthmus, file: Path
) -> None:
    add = ("tokens", "add", "gate", "--file", file, "--certificate")
    isthmus(*add)
    isthmus("tokens", "revoke", "gate", "--file", file)
    assert_explained(isthmus(*add), "gate was revoked")
    assert isthmus(*add, "--again").status == 0
    assert [entry.revoked for entry in read_tokens(file)] == [False]


def test_nobody_comes_again_who_was_never_there(isthmus: Isthmus, file: Path) -> None:
    ended = isthmus("tokens", "add", "camera", "--file", file, "--again")
    assert_explained(ended, "camera is not in the file", "leave --again out")
    assert isthmus("tokens", "rotate", "camera", "--file", file, "--again").status != 0


def test_the_list_says_who_may_what(isthmus: Isthmus, file: Path) -> None:
    limits = ("--max-streams", 2, "--max-in-flight", 16, "--max-frames-per-s", 7.5)
    isthmus("tokens", "add", "camera", "--file", file, *limits)
    isthmus("tokens", "add", "anna", "--file", file, "--role", "operator", "--valid-days", 0)
    isthmus("tokens", "add", "sealed", "--file", file, "--certificate")
    shown = json.loads(isthmus("tokens", "list", "--file", file, "--json").out)
    assert [(each["name"], each["role"], each["state"]) for each in shown] == [
        ("camera", "device", "valid"),
        ("anna", "operator", "over"),
        ("sealed", "device", "valid"),
    ]
    assert [shown[0][name] for name in ("max_streams", "max_in_flight", "max_frames_per_s")] == [
        2,
        16,
        7.5,
    ]
    table = isthmus("tokens", "list", "--file", file).out.splitlines()
    assert table[0].split()[:3] == ["NAME", "ROLE", "STATE"]
    assert "streams 2, in_flight 16, frames_per_s 7.5" in table[1]
    assert table[3].endswith("certificate")


def test_other_limits_leave_token_and_role_as_they_are(isthmus: Isthmus, file: Path) -> None:
    token = isthmus("tokens", "add", "camera", "--file", file, "--max-streams", 2).out.strip()
    ended = isthmus("tokens", "limit", "camera", "--file", file, "--max-in-flight", 4)
    assert ended.status == 0
    assert "camera has streams 2, in_flight 4 from now on" in ended.err
    isthmus("tokens", "limit", "camera", "--file", file, "--max-streams", "none")
    (entry,) = read_tokens(file)
    assert (entry.max_streams, entry.max_in_flight, entry.max_frames_per_s) == (None, 4, None)
    assert [each.sha256 for each in entry.tokens] == [digest_of(token)]
    assert (
        "no limit"
        in isthmus("tokens", "limit", "camera", "--file", file, "--max-in-flight", "none").err
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add",), ("add needs a NAME",)),
        (("limit", "camera", "--max-streams", "0"), ("--max-streams is 0",)),
        (("limit", "camera", "--role", "operator"), ("limit has no --role",)),
        (("limit", "nobody", "--max-streams", "1"), ("nobody is not in the file",)),
        (("limit", "camera"), ("limit needs one of --max-streams, --max-in-flight",)),
        (
            ("limit", "camera", "--max-streams", "9" * 20),
            ("--max-streams is 1e+20", "1 to 1000000"),
        ),
        (("list", "camera"), ("list takes no NAME",)),
        (("add", "camera"), ("camera is there already", "rotate")),
        (("add", "two words"), ("'two words' cannot be a name", "letters, digits")),
        (("add", "x", "--max-streams", "0"), ("--max-streams is 0",)),
        (("add", "x", "--grace-h", "1"), ("add has no --grace-h",)),
        (("add", "x", "--certificate", "--out", "f"), ("no token",)),
        (("add", "x", "--valid-days", "nan"), ("--valid-days is nan",)),
        (("rotate", "camera", "--role", "operator"), ("rotate has no --role",)),
        (("rotate", "camera", "--grace-h", "-1"), ("--grace-h is -1", "0 to 36500")),
        (("rotate", "nobody"), ("nobody is not in the file", "tokens list")),
        (("revoke", "nobody"), ("nobody is not in the file",)),
        (("revoke", "camera", "--json"), ("revoke has no --json",)),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_explained_and_changes_nothing(
    isthmus: Isthmus, file: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    isthmus("tokens", "add", "camera", "--file", file)
    before = file.read_bytes()
    assert_explained(isthmus("tokens", *arguments, "--file", file), *words)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_is_not_there_is_named(isthmus: Isthmus, file: Path) -> None:
    limit = ["limit", "camera", "--max-streams", 1]
    for action in (["list"], ["rotate", "camera"], ["revoke", "camera"], limit):
        assert_explained(isthmus("tokens", *action, "--file", file), str(file), "tokens add")
    assert not file.exists()


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--max-streams", "0", "1 to 1000000"),
        ("--max-in-flight", "-3", "1 to 1000000"),
        ("--max-frames-per-s", "0", "above 0, up to 1000000"),
        ("--max-frames-per-s", "nan", "above 0, up to 1000000"),
    ],
)
def test_a_limit_that_can_be_none_is_named_with_its_flag_and_what_can(
    isthmus: Isthmus, tmp_path: Path, flag: str, value: str, allowed: str
) -> None:
    file = tmp_path / "tokens.jsonl"
    ended = isthmus("tokens", "add", "camera-7", "--file", file, flag, value)
    assert_explained(ended, f"{flag} is {value}", allowed)
    assert not file.exists()
