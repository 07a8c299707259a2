"""Which versions there are, which one is active, and the way back."""

import shutil
from pathlib import Path

import pytest
from tests.cloud.store.bundles import manifest_of, pushed, seen

from isthmus import BundleError, ConfigError
from isthmus.signing import make_keys, sign_bundle, trusted_keys
from isthmus_cloud.store import Store, StoreError, StoreLimits, UnknownVersionError
from isthmus_cloud.store.pointer import MOST_REMEMBERED, Pointer


@pytest.fixture
def three(store: Store, tiny_bundle: Path, other_bundle: Path, wide_bundle: Path) -> Store:
    """Versions v1, v2 and v3 of one model; none is active."""
    for index, bundle in enumerate((tiny_bundle, other_bundle, wide_bundle), 1):
        pushed(store, bundle, "model", f"v{index}")
    return store


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path / "keys")


def test_a_store_that_is_not_there_is_empty_and_stays_so(store: Store) -> None:
    assert store.models() == ()
    assert store.versions("model") == ()
    assert store.active("model") is None
    assert not store.root.exists()


def test_versions_are_listed_from_the_oldest_on(three: Store) -> None:
    assert [each.version for each in three.versions("model")] == ["v1", "v2", "v3"]
    assert len({each.fingerprint for each in three.versions("model")}) == 3
    assert {each.active for each in three.versions("model")} == {False}


def test_the_active_version_is_the_one_that_was_said(three: Store) -> None:
    assert three.set_active("model", "v2") is None
    assert three.set_active("model", "v1") == "v2"
    assert three.active("model") == "v1"
    assert [each.version for each in three.versions("model") if each.active] == ["v1"]
    assert Store(three.root).active("model") == "v1"


def test_what_is_not_there_cannot_be_active(three: Store) -> None:
    three.set_active("model", "v1")
    with pytest.raises(UnknownVersionError, match=r"no model v9 .* versions of model: v1, v2, v3"):
        three.set_active("model", "v9")
    with pytest.raises(UnknownVersionError, match=r"no stranger v1.*; models: model"):
        three.set_active("stranger", "v1")
    assert three.active("model") == "v1"


def test_rollback_goes_back_step_by_step_and_then_says_that_there_is_no_further(
    three: Store,
) -> None:
    for version in ("v1", "v2", "v3"):
        three.set_active("model", version)
    assert three.rollback_target("model") == "v2"
    assert three.rollback("model") == "v2"
    assert three.rollback("model") == "v1"
    with pytest.raises(StoreError, match="v1 is active and none was before"):
        three.rollback("model")
    assert three.active("model") == "v1"


def test_to_activate_the_active_version_changes_nothing(three: Store) -> None:
    for version in ("v1", "v2", "v2", "v2"):
        three.set_active("model", version)
    assert three.rollback("model") == "v1"


def test_a_rollback_to_what_is_no_longer_the_one_before_is_refused(three: Store) -> None:
    for version in ("v1", "v2", "v3"):
        three.set_active("model", version)
    with pytest.raises(StoreError, match="moved it meanwhile"):
        three.rollback("model", to="v1")
    assert three.active("model") == "v3"


def test_what_was_removed_is_no_way_back(three: Store) -> None:
    for version in ("v1", "v2", "v1", "v3"):
        three.set_active("model", version)
    three.remove("model", "v1")
    assert three.rollback("model") == "v2"
    with pytest.raises(StoreError):
        three.rollback("model")


def test_what_somebody_took_away_by_hand_is_no_way_back(three: Store) -> None:
    for version in ("v1", "v2", "v3"):
        three.set_active("model", version)
    shutil.rmtree(three.path("model", "v2"))
    assert three.rollback("model") == "v1"


def test_an_active_version_that_somebody_took_away_is_listed_as_lost(three: Store) -> None:
    three.set_active("model", "v2")
    shutil.rmtree(three.root / "model" / "v2")
    *others, lost = three.versions("model")
    assert [each.version for each in others] == ["v1", "v3"]
    assert (lost.version, lost.active) == ("v2", True)
    assert lost.fault is not None
    assert "push it again and activate it, or activate another one" in lost.fault
    three.set_active("model", "v1")
    assert [each.version for each in three.versions("model")] == ["v1", "v3"]


def test_a_model_whose_only_version_was_taken_away_is_still_there(
    store: Store, tiny_bundle: Path
) -> None:
    pushed(store, tiny_bundle, "model", "v1")
    shutil.rmtree(store.root / "model" / "v1")
    assert store.models() == ()
    pushed(store, tiny_bundle, "model", "v1")
    store.set_active("model", "v1")
    shutil.rmtree(store.root / "model" / "v1")
    assert store.models() == ("model",)
    (lost,) = store.versions_of_all()
    assert (lost.name, lost.version, lost.active) == ("model", "v1", True)


def test_the_active_version_is_never_removed(three: Store) -> None:
    three.set_active("model", "v1")
    with pytest.raises(StoreError, match="active version and stays"):
        three.remove("model", "v1")
    assert three.check("model", "v1").active


def test_what_is_removed_is_gone_with_all_its_files(three: Store) -> None:
    three.set_active("model", "v1")
    three.remove("model", "v2")
    three.remove("model", "v3")
    assert {name.split("/")[1] for name in seen(three.root)} == {"v1", ".active.json"}
    with pytest.raises(UnknownVersionError):
        three.remove("model", "v2")


def test_a_model_without_versions_is_none(three: Store) -> None:
    for version in ("v1", "v2", "v3"):
        three.remove("model", version)
    assert three.models() == ()
    assert not (three.root / "model").exists()


def test_a_bundle_that_was_copied_by_hand_counts(store: Store, tiny_bundle: Path) -> None:
    shutil.copytree(tiny_bundle, store.root / "model" / "by-hand")
    assert store.set_active("model", "by-hand") is None
    assert store.check("model", "by-hand").active


def test_what_is_no_bundle_is_listed_with_the_reason(store: Store) -> None:
    (store.root / "model" / "empty").mkdir(parents=True)
    (stored,) = store.versions("model")
    assert stored.fingerprint == ""
    assert stored.fault is not None
    assert "manifest cannot be read" in stored.fault
    with pytest.raises(BundleError, match="model/empty"):
        store.set_active("model", "empty")


def test_a_damaged_file_is_found_by_the_check(three: Store) -> None:
    victim = three.path("model", "v1") / "cloud" / "tail-0.onnx"
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"tail-0\.onnx"):
        three.check("model", "v1")


@pytest.mark.parametrize(
    "content", [b"", b"{}x", b'{"active": 7}', b'{"active": "../v1"}', b'{"more": 1}', b"\xff"]
)
def test_a_damaged_pointer_is_named_and_can_be_written_anew(three: Store, content: bytes) -> None:
    three.set_active("model", "v1")
    (three.root / "model" / ".active.json").write_bytes(content)
    with pytest.raises(StoreError, match="isthmus activate"):
        three.active("model")
    with pytest.raises(StoreError):
        three.remove("model", "v2")
    assert len(three.versions("model")) == 3
    three.set_active("model", "v2")
    assert three.active("model") == "v2"


def test_the_history_does_not_grow_without_end() -> None:
    pointer = Pointer()
    for index in range(3 * MOST_REMEMBERED):
        pointer = pointer.moved_to(f"v{index}")
    assert len(pointer.previous) == MOST_REMEMBERED
    assert pointer.rolled_back().active == f"v{3 * MOST_REMEMBERED - 2}"


def test_without_a_right_signature_nothing_comes_in(
    root: Path, tmp_path: Path, tiny_bundle: Path, keys: tuple[Path, Path]
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "signed")
    signature = sign_bundle(bundle, keys[0]).read_bytes()
    stranger, _ = make_keys(tmp_path / "stranger")
    wrong = sign_bundle(bundle, stranger).read_bytes()
    store = Store(root, trusted_keys([keys[1]]))
    for bad in (None, wrong, bytes(64), signature[:-1], signature + b"x"):
        with pytest.raises(BundleError, match="sign"):
            store.begin_push("model", "v1", manifest_of(bundle), bad)
    assert not root.exists()
    assert pushed(store, bundle, "model", "v1", signature).signed
    store.set_active("model", "v1")


def test_without_a_right_signature_nothing_goes_out(
    three: Store, tiny_bundle: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    """A key was configured later: what is there already has to be signed."""
    three.set_active("model", "v1")
    strict = Store(three.root, trusted_keys([keys[1]]))
    for use in (strict.path, strict.open, strict.check, strict.set_active):
        with pytest.raises(BundleError, match="not signed"):
            use("model", "v1")
    assert "not signed" in str(strict.version("model", "v1").fault)
    bundle = shutil.copytree(tiny_bundle, tmp_path / "signed")
    pushed(strict, bundle, "model", "v1", sign_bundle(bundle, keys[0]).read_bytes())
    assert strict.check("model", "v1").fault is None
    with pytest.raises(BundleError, match="model/v2: not signed"):
        strict.set_active("model", "v2")
    assert strict.active("model") == "v1"


def test_a_rollback_to_what_may_not_be_used_is_refused(
    three: Store, keys: tuple[Path, Path]
) -> None:
    three.set_active("model", "v1")
    three.set_active("model", "v2")
    with pytest.raises(BundleError, match="not signed"):
        Store(three.root, trusted_keys([keys[1]])).rollback("model")
    assert three.active("model") == "v2"


@pytest.mark.parametrize(
    "limits", [{"max_bundle_bytes": 0}, {"spare_bytes": -1}, {"keep_partial_s": 0}], ids=str
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="limits of a store"):
        StoreLimits(**limits)
