"""What a tokens file says, line by line, and what its owner makes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import ConfigError
from isthmus_cloud.security.names import is_name
from isthmus_cloud.security.tokens import (
    TOKENS_EACH,
    Entry,
    Token,
    added,
    decode_tokens,
    digest_of,
    encode_tokens,
    entry_of,
    new_token,
    revoked,
    rotated,
)

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
LINE = '{"name":"camera","tokens":[{"sha256":"%s"}]}'


def token(number: int, not_after: datetime | None = None) -> Token:
    return Token(sha256=f"{number:064x}", not_after=not_after)


def entry(name: str = "camera", *tokens: Token, **fields: Any) -> Entry:
    return Entry(name=name, tokens=tokens, **fields)


def test_tokens_are_long_random_and_easy_to_find() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(each.startswith("isthmus_") and len(each) == 8 + 43 for each in tokens)


@settings(max_examples=30)
@given(
    st.lists(
        st.builds(
            Entry,
            name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@:/-]{0,20}", fullmatch=True),
            role=st.sampled_from(["device", "operator"]),
            certificate=st.booleans(),
            revoked=st.booleans(),
            max_streams=st.none() | st.integers(1, 1000),
            max_frames_per_s=st.none() | st.floats(0.1, 1e6),
        ),
        unique_by=lambda each: each.name,
    )
)
def test_what_is_written_is_read_again(entries: list[Entry]) -> None:
    assert decode_tokens(encode_tokens(entries), "file") == tuple(entries)


def test_the_moment_a_token_ends_is_kept() -> None:
    entries = (entry("camera", token(1, NOW)),)
    assert decode_tokens(encode_tokens(entries), "file") == entries


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("camera", "line 2 is no identity: JSON is malformed"),
        ('{"name":"a"}}', "line 2 .*trailing characters"),
        ('{"role":"device"}', "missing required field `name`"),
        ('{"name":"two words"}', r"matching regex .*`\$.name"),
        ('{"name":"a\\n"}', r"matching regex .*`\$.name"),
        ('{"name":"a","role":"root"}', "Invalid enum value 'root'"),
        ('{"name":"a","token":"x"}', "unknown field `token`"),
        ('{"name":"a","tokens":[{"sha256":"00"}]}', r"\$.tokens\[0\].sha256"),
        (LINE % ("A" * 64), r"\$.tokens\[0\].sha256"),
        ('{"name":"a","tokens":[{"sha256":"%s","not_after":"2030-01-01T00:00:00"}]}' % ("0" * 64),
         "not_after"),
        ('{"name":"a","max_streams":0}', r"`int` >= 1 - at `\$.max_streams`"),
        ('{"name":"a","max_frames_per_s":-1}', r"\$.max_frames_per_s"),
        ('{"name":"first"}', "lines 1 and 2 have the same name first"),
        ('{"name":"\xff"}'.encode("latin-1"), "line 2"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(line: str | bytes, words: str) -> None:
    content = b'{"name":"first"}\n' + (line if isinstance(line, bytes) else line.encode())
    with pytest.raises(ConfigError, match=rf"^some\.file: .*{words}"):
        decode_tokens(content, "some.file")


def test_no_token_opens_for_two() -> None:
    content = encode_tokens([entry("one", token(1)), entry("two", token(1))])
    with pytest.raises(ConfigError, match="lines 1 and 2 have the same token 000000000000"):
        decode_tokens(content, "file")


def test_what_stands_in_the_place_of_a_hash_is_not_repeated() -> None:
    secret = new_token()
    with pytest.raises(ConfigError) as refused:
        decode_tokens((LINE % secret).encode(), "file")
    assert secret not in str(refused.value)
    assert secret not in repr(refused.value.__cause__)


def test_empty_lines_are_passed_over() -> None:
    assert [each.name for each in decode_tokens(b'\n\n{"name":"a"}\n  \n', "file")] == ["a"]


@pytest.mark.parametrize("again", [False, True])
def test_nobody_is_added_twice(again: bool) -> None:
    entries = added((), entry("camera", token(1)))
    with pytest.raises(ConfigError, match="tokens rotate camera"):
        added(entries, entry("camera", token(2)), again=again)


def test_who_was_revoked_comes_in_again_only_if_that_is_said() -> None:
    entries = (entry("other", token(9)), *revoked([entry("camera", token(1))], "camera"))
    with pytest.raises(ConfigError, match=r"was revoked.*tokens add camera --again"):
        added(entries, entry("camera", token(2)))
    again = added(entries, entry("camera", token(2)), again=True)
    assert again == (entries[0], entry("camera", token(2)))


def test_nobody_comes_again_who_was_not_revoked() -> None:
    with pytest.raises(ConfigError, match="leave --again out"):
        added((), entry("camera", token(1)), again=True)


def test_rotation_lets_the_old_token_hold_for_a_while() -> None:
    entries = (entry("other", token(9)), entry("camera", token(1), max_streams=3))
    (other, camera) = rotated(entries, "camera", token(2), NOW + HOUR, NOW)
    assert other == entries[0]
    assert camera == entry("camera", token(1, NOW + HOUR), token(2), max_streams=3)


def test_rotation_prolongs_nothing_and_drops_what_is_over() -> None:
    soon = NOW + HOUR / 2
    entries = (entry("camera", token(1, NOW - HOUR), token(2, soon)),)
    (camera,) = rotated(entries, "camera", token(3), NOW + HOUR, NOW)
    assert camera.tokens == (token(2, soon), token(3))


def test_rotation_without_grace_leaves_the_new_token_alone() -> None:
    (camera,) = rotated((entry("camera", token(1)),), "camera", token(2), NOW, NOW)
    assert camera.tokens == (token(2),)


def test_an_identity_does_not_collect_tokens() -> None:
    entries = (entry("camera", *map(token, range(TOKENS_EACH))),)
    with pytest.raises(ConfigError, match=f"has {TOKENS_EACH} tokens"):
        rotated(entries, "camera", token(99), NOW + HOUR, NOW)
    too_many = msgspec.json.encode(entry("camera", *map(token, range(TOKENS_EACH + 1))))
    with pytest.raises(ConfigError, match="length <= "):
        decode_tokens(too_many, "file")


def test_who_is_revoked_keeps_no_token_and_gets_none() -> None:
    (camera,) = revoked((entry("camera", token(1)),), "camera")
    assert camera.revoked
    assert camera.tokens == ()
    with pytest.raises(ConfigError, match="camera is revoked; `isthmus tokens add camera --again`"):
        rotated((camera,), "camera", token(2), NOW, NOW)


def test_who_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="nobody is not in the file"):
        revoked((), "nobody")


@pytest.mark.parametrize("name", ["", " a", "-rf", "a b", "a\n", "a\x1b[2J", "é", "a" * 129, "<b>"])
def test_a_name_that_could_do_harm_elsewhere_is_refused(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ConfigError, match="cannot be a name; allowed are"):
        entry_of({"name": name})


def test_a_field_that_cannot_be_is_named_with_the_identity() -> None:
    with pytest.raises(ConfigError, match=r"^camera: .*max_in_flight"):
        entry_of({"name": "camera", "max_in_flight": -1})


def test_a_hash_is_sha256() -> None:
    assert digest_of("abc").startswith("ba7816bf8f01cfea")  # FIPS 180-4, appendix B.1
