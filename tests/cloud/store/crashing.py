"""`python -m tests.cloud.store.crashing FOLDER TINY OTHER`: stores whose users were killed.

FOLDER/N is the store of a process that ended at once, without any cleaning up, in the place of the
Nth time that it would have renamed something or removed a folder.
"""

import os
import sys
from pathlib import Path
from typing import Any

from tests.cloud.store.bundles import pushed

from isthmus_cloud.store import Store

STEPS = 17  # renames and folders that go, in the life below


def live(root: Path, tiny: Path, other: Path) -> None:
    """Two versions come, each is active for a while, and the first goes."""
    store = Store(root)
    pushed(store, tiny, "model", "v1")
    store.set_active("model", "v1")
    pushed(store, other, "model", "v2")
    store.set_active("model", "v2")
    store.rollback("model")
    store.set_active("model", "v2")
    store.remove("model", "v1")


def _die_before_step(number: int) -> None:
    count = 0

    def deadly(real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os._exit(0)
            return real(*args, **kwargs)

        return step

    for name in ("rename", "replace", "rmdir"):
        setattr(os, name, deadly(getattr(os, name)))
    os.fsync = lambda fd: None  # nobody cuts the power


def main() -> None:
    """A child for each step, and one that lives to the end."""
    folder, tiny, other = map(Path, sys.argv[1:])
    for number in range(1, STEPS + 2):
        child = os.fork()
        if child == 0:
            _die_before_step(number)
            live(folder / str(number), tiny, other)
            (folder / str(number) / "ended").touch()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, f"step {number}"


if __name__ == "__main__":
    main()
