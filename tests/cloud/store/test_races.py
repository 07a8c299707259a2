"""Several that push, activate, roll back and remove at once; links; what crashes left."""

import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cloud.store.bundles import hidden, pushed

from isthmus import IsthmusError
from isthmus_cloud.store import Store, StoreLimits, UnknownVersionError

VERSIONS = ("v1", "v2", "v3")


def test_whoever_does_what_at_once_the_store_stays_whole(
    root: Path, tiny_bundle: Path, other_bundle: Path
) -> None:
    """Each worker is an operator of its own; a reader looks at it all the time."""
    bundles = dict(zip(VERSIONS, (tiny_bundle, other_bundle, tiny_bundle), strict=True))
    verbs: dict[str, Callable[[Store, str], object]] = {
        "push": lambda store, version: pushed(store, bundles[version], "model", version),
        "activate": lambda store, version: store.set_active("model", version),
        "rollback": lambda store, _: store.rollback("model"),
        "remove": lambda store, version: store.remove("model", version),
    }
    failures: list[BaseException] = []
    done = dict.fromkeys(verbs, 0)
    gate, over = threading.Barrier(5), threading.Event()

    def operate(seed: int) -> None:
        dice, store = random.Random(seed), Store(root)
        gate.wait()
        for _ in range(40):
            verb = dice.choice(tuple(verbs))
            try:
                verbs[verb](store, dice.choice(VERSIONS))
                done[verb] += 1
            except IsthmusError:
                pass  # the state does not allow it just now, which is the right answer
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

    def read() -> None:
        gate.wait()
        while not over.is_set():
            rows = Store(root).versions("model")
            failures.extend(AssertionError(row.fault) for row in rows if row.fault)

    workers = [threading.Thread(target=operate, args=(seed,)) for seed in range(4)]
    reader = threading.Thread(target=read)
    for thread in (*workers, reader):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    reader.join()
    assert failures == []
    assert done["push"] > 0
    store = Store(root)
    assert all(store.check("model", each.version) for each in store.versions("model"))
    active = store.active("model")
    assert active is None or store.version("model", active).active
    assert hidden(root) == set()


def test_a_version_that_is_removed_while_it_is_listed_is_not_called_damaged(
    store: Store, tiny_bundle: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(store, tiny_bundle, "model", "v1")
    pushed(store, other_bundle, "model", "v2")
    real = Store.open

    def opened(self: Store, name: str, version: str) -> object:
        if version == "v1" and (store.root / name / version).exists():
            store.remove(name, version)
        return real(self, name, version)

    monkeypatch.setattr(Store, "open", opened)
    assert [each.version for each in store.versions("model")] == ["v2"]


def test_a_version_that_is_a_link_goes_and_what_it_leads_to_stays(
    store: Store, tiny_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(tiny_bundle, tmp_path / "elsewhere")
    pushed(store, other_bundle, "model", "v1")
    (store.root / "model" / "linked").symlink_to(elsewhere)
    assert store.check("model", "linked").fault is None
    store.remove("model", "linked")
    with pytest.raises(UnknownVersionError):
        store.check("model", "linked")
    assert (elsewhere / "bundle.json").exists()
    assert list((store.root / ".trash").iterdir()) == []


def test_a_push_that_a_crash_ended_at_its_very_beginning_is_swept_too(
    store: Store, root: Path, tiny_bundle: Path
) -> None:
    begun = root / ".incoming" / ("b" * 64)
    (begun / "bundle").mkdir(parents=True)
    (root / ".incoming" / "stray").touch()
    long_ago_s = time.time() - StoreLimits().keep_partial_s - 1
    os.utime(begun, (long_ago_s, long_ago_s))
    pushed(store, tiny_bundle, "model", "v1")
    assert [path.name for path in (root / ".incoming").iterdir()] == ["stray"]


def test_a_model_that_cannot_be_read_hides_no_other(
    store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(store, tiny_bundle, "open", "v1")
    pushed(store, tiny_bundle, "shut", "v1")
    real = os.listdir

    def listdir(path: Path) -> list[str]:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert store.models() == ("open", "shut")
    assert store.versions("open")[0].fault is None
    with pytest.raises(IsthmusError, match=r"shut.*Permission denied.*let the user"):
        store.versions("shut")
    readable, shut = store.versions_of_all(verify=True)
    assert (readable.name, readable.verified) == ("open", True)
    assert (shut.name, shut.version, shut.verified) == ("shut", "", False)
    assert "Permission denied" in str(shut.fault)


def test_a_folder_that_has_gone_stale_is_named_and_hides_no_other(
    store: Store, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system that another machine has changed nobody may even look at it."""
    for name, version in (("model", "v1"), ("model", "v2"), ("other", "v1")):
        pushed(store, tiny_bundle, name, version)
    stale = (store.root / "model" / "v2", store.root / "other")

    def failing(real: Callable[..., object]) -> Callable[..., object]:
        def call(path: object, *args: object, **how: object) -> object:
            if isinstance(path, Path) and any(path.is_relative_to(each) for each in stale):
                raise OSError(errno.ESTALE, "Stale file handle")
            return real(path, *args, **how)

        return call

    monkeypatch.setattr(os, "stat", failing(os.stat))
    monkeypatch.setattr(os, "listdir", failing(os.listdir))
    faults = {(each.name, each.version): each.fault for each in store.versions_of_all()}
    assert faults.keys() == {("model", "v1"), ("model", "v2"), ("other", "")}
    assert faults.pop(("model", "v1")) is None
    assert all("Stale file handle" in str(fault) for fault in faults.values())
