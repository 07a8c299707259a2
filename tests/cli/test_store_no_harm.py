"""What an operator says by mistake does no harm: a wrong path, a variable that is not set."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Isthmus
from tests.commands import assert_explained

from isthmus_cloud.store import Store

Place = tuple[str, str]


def push(place: Place) -> tuple[str, str]:
    return ("--to" if place[0] == "--at" else place[0]), place[1]


def test_a_folder_of_somebody_is_neither_removed_nor_is_that_advised(
    isthmus: Isthmus, place: Place, store: Store
) -> None:
    thesis = store.root / "docs" / "work" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("hi\n", encoding="utf-8")
    ended = isthmus("list", *place)
    assert "is no version of a store: see that the path is that of the store" in ended.out
    assert "remove" not in ended.out
    ended = isthmus("remove", "docs", "work", *place)
    assert_explained(ended, "docs work is no version", "thesis.txt", "NAME/VERSION", "yourself")
    assert thesis.read_text(encoding="utf-8") == "hi\n"
    assert sorted(path.name for path in store.root.iterdir()) == ["docs"]  # nothing was made there


def test_the_folder_above_the_store_loses_no_model(
    isthmus: Isthmus, store: Store, tiny_bundle: Path
) -> None:
    isthmus("push", tiny_bundle, "--store", store.root, "--version", "v1")
    ended = isthmus("remove", store.root.name, "tiny", "--store", store.root.parent)
    assert_explained(ended, "is no version", "v1/bundle.json", "see that the path")
    assert store.check("tiny", "v1").fault is None


def test_the_halves_of_a_version_are_none(
    isthmus: Isthmus, store: Store, tiny_bundle: Path
) -> None:
    isthmus("push", tiny_bundle, "--store", store.root, "--version", "v1")
    place = ("--store", store.root / "tiny")
    rows = json.loads(isthmus("list", *place, "--json").out)
    assert [row["version"] for row in rows] == ["cloud", "device"]
    assert not any("remove" in row["fault"] for row in rows)
    for row in rows:
        assert_explained(isthmus("remove", row["name"], row["version"], *place), "is no version")
    assert store.check("tiny", "v1").fault is None


@pytest.mark.parametrize(
    "verb",
    ["push BUNDLE", "list", "activate a b", "rollback a", "remove a b", "cloud --listen nowhere"],
)
def test_no_name_of_a_folder_is_not_the_present_one(
    isthmus: Isthmus, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [tiny_bundle if word == "BUNDLE" else word for word in verb.split()]
    ended = isthmus(*arguments, "--store", "")
    assert ended.status == 2
    assert "argument --store: it is empty" in ended.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--name", "--version"])
@pytest.mark.parametrize("value", ["", "-1"])
def test_an_empty_name_is_refused_like_another_that_cannot_be(
    isthmus: Isthmus, place: Place, store: Store, tiny_bundle: Path, flag: str, value: str
) -> None:
    ended = isthmus("push", tiny_bundle, *push(place), "--quiet", f"{flag}={value}")
    assert_explained(ended, f"{value!r} cannot be used; take up to 64 letters")
    assert not store.root.exists()


def test_a_pointer_that_cannot_be_read_is_told_once(
    isthmus: Isthmus, store: Store, tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    isthmus("push", tiny_bundle, "--store", store.root, "--version", "v1", "--activate")
    (store.root / "tiny" / ".active.json").write_bytes(b'{"act')
    ended = isthmus("activate", "tiny", "v1", "--store", store.root)
    assert (ended.status, ended.out) == (0, "tiny v1 is active (before: none)\n")
    assert caplog.text.count("which version of tiny is active cannot be read") == 1
