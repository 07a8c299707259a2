"""A store in trouble while devices are served from it: none of them notices."""

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.commands import Command, assert_explained
from tests.integration.faults.processes import CountedCloud
from tests.integration.faults.service_devices import CAMERA, Fleet, fleet
from tests.integration.faults.service_frames import Frames
from tests.integration.faults.tally import Count
from tests.integration.faults.traffic import WINDOW
from tests.tinybundle import build_tiny_bundle

from isthmus import decode_manifest, encode_manifest, sha256_of
from isthmus.manifest import MANIFEST_NAME

NO_MODEL = "cloud/tail-1.onnx"


class StoreCloud(CountedCloud):
    """`isthmus cloud --store`, ready for devices and operators."""

    def __init__(self, store: Path) -> None:
        Command.__init__(
            self, "cloud", "--store", store, "--listen", "127.0.0.1:0", "--provider", "cpu"
        )
        try:
            self.address = self.line("listening on ").split()[2]
        except BaseException:
            self.__exit__()
            raise

    def allow_files_of(self, size_bytes: int) -> None:
        """The kernel lets it write no file that is larger; the rest of the disk seems full."""
        _, most = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size_bytes, most))

    def allow_all_files(self) -> None:
        """The disk has room again."""
        _, most = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1, which is active, and "broken", which is whole and no model."""
    root = tmp_path_factory.mktemp("store")
    build_tiny_bundle(root / "tiny" / "1")
    broken = build_tiny_bundle(root / "tiny" / "broken", seed=2)
    (broken / NO_MODEL).write_bytes(b"no model")
    manifest = decode_manifest((broken / MANIFEST_NAME).read_bytes(), "here")
    files = tuple(
        replace(entry, size_bytes=8, sha256=sha256_of(broken / NO_MODEL))
        if entry.path == NO_MODEL
        else entry
        for entry in manifest.files
    )
    (broken / MANIFEST_NAME).write_bytes(encode_manifest(replace(manifest, files=files)))
    with Command("activate", "tiny", "1", "--store", root) as command:
        assert command.ended().status == 0
    return root


@pytest.fixture(scope="module")
def frames(store: Path) -> Frames:
    return Frames(store / "tiny" / "1")


@pytest.fixture(scope="module")
def cloud(store: Path) -> Iterator[StoreCloud]:
    with StoreCloud(store) as cloud:
        yield cloud


async def said(*words: object) -> Command:
    """An operator's command, once it has ended; devices are served meanwhile."""
    command = Command(*words)
    await asyncio.to_thread(command.process.wait)
    return command


def assert_untouched(cloud: StoreCloud, ships: Fleet) -> None:
    """Every frame was answered, and nothing is left."""
    tally = ships.tally()
    assert tally.balances, tally
    assert tally.errors == 0
    cloud.assert_at_level(sessions=0)


@pytest.mark.fault("service: model cannot be loaded")
async def test_a_version_that_cannot_be_loaded_changes_nothing_for_anybody(
    cloud: StoreCloud, frames: Frames, count: Count
) -> None:
    async with fleet(cloud.address, frames, [CAMERA] * 3) as ships:
        await ships.answered(5 * WINDOW)
        cloud.note_level()
        with await said("activate", "tiny", "broken", "--at", cloud.address) as command:
            assert_explained(command.ended(), "1 stays active", "tail-1.onnx")
        await ships.answered(5 * WINDOW)
        async with fleet(cloud.address, frames, [CAMERA]) as newcomer:
            await newcomer.answered(WINDOW)
    count(ships.tally() + newcomer.tally())
    assert [device.updates for device in ships.devices] == [0, 0, 0]
    assert newcomer.tally().balances
    assert_untouched(cloud, ships)


@pytest.mark.fault("service: store's disk is full")
async def test_a_full_disk_ends_what_operators_want_and_no_frame(
    cloud: StoreCloud,
    store: Path,
    frames: Frames,
    other_bundle: Path,
    count: Count,
) -> None:
    push = ("push", other_bundle, "--to", cloud.address, "--name", "tiny", "--version", "2")
    activate = ("activate", "tiny", "2", "--at", cloud.address)
    async with fleet(cloud.address, frames, [CAMERA] * 3) as ships:
        await ships.answered(5 * WINDOW)
        cloud.note_level()
        cloud.allow_files_of(1024)
        with await said(*push) as command:
            assert_explained(command.ended(), "no room on the store's disk")
        assert not (store / "tiny" / "2").exists()
        assert list((store / ".incoming").iterdir()) == []
        cloud.allow_all_files()
        with await said(*push) as command:
            assert command.ended().status == 0
        cloud.allow_files_of(0)
        with await said(*activate) as command:
            assert_explained(command.ended(), "1 stays active", "no room on the store's disk")
        assert [device.updates for device in ships.devices] == [0, 0, 0]
        cloud.allow_all_files()
        with await said(*activate) as command:
            assert command.ended().status == 0
        await ships.until(lambda: all(device.updates == 1 for device in ships.devices))
        async with fleet(cloud.address, Frames(other_bundle), [CAMERA]) as newcomer:
            await newcomer.answered(WINDOW)
    count(ships.tally() + newcomer.tally())
    assert newcomer.tally().balances
    assert_untouched(cloud, ships)
