"""A process that dies before any step leaves a store that the next one can go on with."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cloud.store.bundles import hidden
from tests.cloud.store.crashing import STEPS, live

from isthmus_cloud.store import Store

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wrecks(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path, other_bundle: Path) -> Path:
    """A store for each step before which the process that used it was killed, named by number."""
    folder = tmp_path_factory.mktemp("wrecks")
    crashing = ["-m", "tests.cloud.store.crashing", *map(str, (folder, tiny_bundle, other_bundle))]
    subprocess.run([sys.executable, *crashing], cwd=ROOT, check=True, timeout=60)
    return folder


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_store_is_whole_after_a_crash_before_any_step(
    wrecks: Path, tiny_bundle: Path, other_bundle: Path, step: int
) -> None:
    store = Store(wrecks / str(step))
    for stored in store.versions("model"):
        assert store.check("model", stored.version).fault is None
    active = store.active("model")
    assert active is None or store.version("model", active).active
    live(store.root, tiny_bundle, other_bundle)
    assert [stored.version for stored in store.versions("model")] == ["v2"]
    assert hidden(store.root) == set()


def test_these_are_all_the_steps_there_are(wrecks: Path) -> None:
    """The life that was not interrupted has come to its end; each of the others has not."""
    ended = {path.parent.name for path in wrecks.glob("*/ended")}
    assert ended == {str(STEPS + 1)}
