"""Commands run in this process, photos to run them on, and a cloud to talk to."""

import logging
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.cloud.store.serving import Served
from tests.cloud.store.serving import serving_apart as service
from tests.commands import Cloud, Ended
from tests.tinybundle import tiny_pictures

from isthmus_cli import main
from isthmus_cloud.store import Store

PHOTOS = 10

Isthmus = Callable[..., Ended]


@pytest.fixture
def isthmus(capfd: pytest.CaptureFixture[str]) -> Iterator[Isthmus]:
    """`isthmus("edge", …)` in this process; whatever happens, it never shows a traceback."""

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # how argparse says that usage was wrong, or that it helped
            status = int(ended.code or 0)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Ended(status, captured.out, captured.err)

    before = signal.getsignal(signal.SIGTERM)
    loggers = [logging.getLogger(name) for name in ("root", "isthmus", "isthmus_cloud")]
    handlers, levels = list(loggers[0].handlers), [each.level for each in loggers]
    yield run
    signal.signal(signal.SIGTERM, before)
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be damaged."""
    return shutil.copytree(tiny_bundle, tmp_path / "copied.bundle")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures: photo-0.png and so on."""
    folder = tmp_path_factory.mktemp("photos")
    for index, picture in enumerate(tiny_pictures(PHOTOS)):
        Image.fromarray(picture[0]).save(folder / f"photo-{index}.png")
    return folder


@pytest.fixture(scope="session")
def cloud(tiny_bundle: Path) -> Iterator[Cloud]:
    """A service with the tiny bundle."""
    with Cloud(tiny_bundle) as cloud:
        yield cloud


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    with service(store) as served:
        yield served


@pytest.fixture(params=["service", "folder"])
def place(request: pytest.FixtureRequest, store: Store) -> tuple[str, str]:
    """The flag of a store, for every verb but push."""
    if request.param == "folder":
        return "--store", str(store.root)
    return "--at", request.getfixturevalue("served").address
