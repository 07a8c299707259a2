"""The shelf keeps the last good bundle and the one before it, whatever comes between."""

import os
import shutil
from pathlib import Path

import pytest
from tests.edge.bundles.services import ScriptedService, fetcher, files_in
from tests.tinybundle import build_tiny_bundle

from isthmus import BundleError, ConfigError
from isthmus_edge.bundles import Shelf, ShelfError
from isthmus_edge.bundles.shelf import REFUSED_S


def brought(shelf: Shelf, bundle: Path, *, settled: bool = True) -> str:
    """Have a bundle on the shelf; its fingerprint."""
    with fetcher(ScriptedService(bundle), shelf) as fetching:
        fingerprint = fetching.bring(fetching.look()).fingerprint
    if settled:
        shelf.settle(fingerprint)
    return fingerprint


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("bundles")
    return [build_tiny_bundle(root / str(seed), seed) for seed in (10, 11, 12)]


def last_good(shelf: Shelf) -> str | None:
    kept = shelf.last_good()
    return None if kept is None else kept.fingerprint


def folders(shelf: Shelf) -> set[str]:
    return {each.name for each in shelf.folder.iterdir() if not each.name.startswith(".")}


def test_an_empty_shelf_has_nothing(shelf: Shelf) -> None:
    assert shelf.last_good() is None
    assert shelf.waiting() is None
    assert shelf.refusal("0" * 64) == ""
    assert not shelf.folder.exists()


def test_the_last_good_and_the_one_before_stay(shelf: Shelf, three: list[Path]) -> None:
    first, second, third = (brought(shelf, bundle) for bundle in three)
    assert folders(shelf) == {second, third}
    assert first not in folders(shelf)
    assert last_good(Shelf(shelf.folder.parent, "tiny")) == third
    assert not list((shelf.folder / ".trash").iterdir())


def test_going_back_needs_no_fetch(shelf: Shelf, three: list[Path]) -> None:
    first, second = brought(shelf, three[0]), brought(shelf, three[1])
    service = ScriptedService(three[0])
    with fetcher(service, shelf) as fetching:
        fetching.bring(fetching.look(second))
    shelf.settle(first)
    assert service.asked == []
    assert last_good(shelf) == first
    assert folders(shelf) == {first, second}


def test_what_has_not_proved_itself_is_not_the_last_good_one(
    shelf: Shelf, three: list[Path]
) -> None:
    first = brought(shelf, three[0])
    second = brought(shelf, three[1], settled=False)
    assert last_good(shelf) == first
    shelf.welcome(second)
    waiting = shelf.waiting()
    assert waiting is not None
    assert waiting.fingerprint == second
    assert last_good(shelf) == first
    shelf.settle(second)
    assert shelf.waiting() is None
    assert last_good(shelf) == second


def test_a_refusal_holds_for_an_hour_over_restarts_and_the_bundle_stays(
    root: Path, three: list[Path]
) -> None:
    now_s = [1e9]
    shelf = Shelf(root, "tiny", clock=lambda: now_s[0])
    first = brought(shelf, three[0])
    second = brought(shelf, three[1], settled=False)
    shelf.welcome(second)
    shelf.refuse(second, "it cannot be opened")
    shelf.settle(first)
    again = Shelf(root, "tiny", clock=lambda: now_s[0])
    assert again.waiting() is None
    assert again.refusal(second) == "it cannot be opened"
    assert again.refusal(first) == ""
    assert again.whole(second) is not None, "it would be fetched again"
    now_s[0] += REFUSED_S
    assert again.refusal(second) == ""
    now_s[0] = 0.0  # the clock of a device that has just got its power
    assert again.refusal(second) == ""


def test_a_refusal_can_be_forgiven(shelf: Shelf, three: list[Path]) -> None:
    second = brought(shelf, three[1], settled=False)
    shelf.refuse(second, "no memory")
    shelf.forgive()
    assert shelf.refusal(second) == ""
    shelf.settle(brought(shelf, three[0], settled=False))
    assert shelf.whole(second) is not None, "it would be fetched again"


def test_a_damaged_bundle_makes_room_for_the_one_before(shelf: Shelf, three: list[Path]) -> None:
    first, second = brought(shelf, three[0]), brought(shelf, three[1])
    (shelf.folder / second / "labels.txt").write_text("damaged")
    assert last_good(shelf) == first


def test_a_bundle_in_the_place_of_another_is_not_used(shelf: Shelf, three: list[Path]) -> None:
    first = brought(shelf, three[0])
    shutil.rmtree(shelf.folder / first)
    shutil.copytree(three[1], shelf.folder / first)
    assert shelf.last_good() is None


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"good": 3}'])
def test_without_notes_bundles_count_by_their_age(
    shelf: Shelf, three: list[Path], content: bytes | None
) -> None:
    first, second = brought(shelf, three[0]), brought(shelf, three[1])
    notes = shelf.folder / ".shelf.json"
    notes.unlink()
    if content is not None:
        notes.write_bytes(content)
    os.utime(shelf.folder / first, (1, 1))
    assert last_good(shelf) == second
    os.utime(shelf.folder / second, (0, 0))
    assert last_good(shelf) == first


def test_notes_that_name_something_else_lead_nowhere(shelf: Shelf, three: list[Path]) -> None:
    brought(shelf, three[0])
    (shelf.folder / ".shelf.json").write_text(
        '{"good": ["../../outside"], "newcomer": {"fingerprint": ".."}}'
    )
    assert shelf.last_good() is None
    assert shelf.waiting() is None


def test_keys_are_asked_of_bundles_that_were_here_before(
    root: Path, shelf: Shelf, three: list[Path]
) -> None:
    fingerprint = brought(shelf, three[0])

    class NobodyIsTrusted:
        def verify(self, manifest: bytes, signature: bytes | None, where: str) -> None:
            raise BundleError(f"{where}: not signed")

    assert Shelf(root, "tiny", NobodyIsTrusted()).last_good() is None
    assert Shelf(root, "tiny", NobodyIsTrusted()).whole(fingerprint) is None


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b"])
def test_a_model_cannot_be_another_folder(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="model name"):
        Shelf(root, name)


def test_a_place_where_nothing_can_be_written_is_named(root: Path, three: list[Path]) -> None:
    root.write_text("a file")
    with pytest.raises(ShelfError, match="see that this user may write"):
        brought(Shelf(root, "tiny"), three[0])
    assert root.read_text() == "a file"


def test_what_a_crash_left_in_the_trash_goes(shelf: Shelf, three: list[Path]) -> None:
    left = shelf.folder / ".trash" / "left"
    left.mkdir(parents=True)
    (left / "file").touch()
    fingerprints = [brought(shelf, bundle) for bundle in three]
    assert {name.split("/")[0] for name in files_in(shelf.folder)} == set(fingerprints[1:])
