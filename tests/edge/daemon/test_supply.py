"""A daemon's supply: which bundle is next, and what becomes of one that will not do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.commands import PATIENCE_S
from tests.edge.bundles.services import ScriptedService
from tests.edge.daemon.supplied import supplied_config

from isthmus import ConfigError, LinkError, ModelError, PeerError
from isthmus_edge.bundles import Shelf, fetching
from isthmus_edge.daemon import parse_config, read_config, supply
from isthmus_edge.daemon.supply import Supply, Trial

NOBODY = "127.0.0.1:1"


class Desk:
    """A supply of one service, and where its bundles are put into use."""

    def __init__(self, folder: Path, service: "Service") -> None:
        self.config = read_config(supplied_config(folder, NOBODY))
        self.shelf = Shelf(folder / "shelf", "tiny")
        self.service = service
        self.told: list[str] = []
        self.used: list[str] = []
        self.fault: Exception | None = None
        self.changed = asyncio.Event()
        self.supply = self.another()

    def another(self) -> Supply:
        """After a restart."""
        return Supply(self.config, self.tell, self.service.dial)

    def tell(self, event: str, level: int = 0, **fields: Any) -> None:
        self.told.append(event)
        self.changed.set()

    async def use(self, bundle: Path) -> None:
        self.used.append(bundle.name)
        if self.fault is not None:
            raise self.fault

    def give(self, service: ScriptedService) -> None:
        """Another bundle is the active one now."""
        self.service.bundle, self.service.manifest = service.bundle, service.manifest

    async def swap(self, trial: Trial) -> None:
        await trial(self.use)

    async def begin(self) -> None:
        await self.supply.ready()
        await self.supply.opened(self.use)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supply.run(self.swap))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                self.changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.01):  # a look has no event
                        await self.changed.wait()

    async def looks(self, number: int = 1) -> None:
        """The service is asked so often, and nothing goes on behind that."""
        for _ in range(number):
            wanted = self.service.looks + 1
            self.supply.wake()
            await self.until(partial(self._has_looked, wanted))

    def _has_looked(self, wanted: int) -> bool:
        return self.service.looks >= wanted


class Service(ScriptedService):
    """Counts how often it was asked for the current version, and gave its manifest."""

    looks = 0
    manifests = 0

    def current(self, model: str, held: str) -> Any:
        self.looks += 1
        self.manifests += held != self.fingerprint
        return super().current(model, held)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "GAP_S", 0.0)
    monkeypatch.setattr(fetching, "BACKOFF_S", (0.0, 0.0))
    monkeypatch.setattr(supply, "NICENESS", 0)


@pytest.fixture
async def desk(tmp_path: Path, tiny_bundle: Path) -> Desk:
    return Desk(tmp_path, Service(tiny_bundle))


@pytest.fixture
def next_one(other_bundle: Path) -> ScriptedService:
    return ScriptedService(other_bundle)


def last_good(shelf: Shelf) -> str:
    kept = shelf.last_good()
    assert kept is not None
    return kept.fingerprint


async def test_the_first_bundle_is_fetched_and_good_once_it_is_opened(desk: Desk) -> None:
    await desk.supply.ready()
    assert desk.shelf.last_good() is None
    await desk.supply.opened(desk.use)
    assert last_good(desk.shelf) == desk.service.fingerprint
    assert desk.supply.status.state == "current"
    asked = len(desk.service.asked)
    desk.supply = desk.another()
    await desk.begin()
    assert len(desk.service.asked) == asked


async def test_a_first_bundle_that_cannot_be_opened_does_not_come_again(desk: Desk) -> None:
    desk.fault = ModelError("no such operator")
    with pytest.raises(ModelError):
        await desk.begin()
    asked = len(desk.service.asked)
    desk.supply = desk.another()
    with pytest.raises(ModelError):
        await desk.begin()
    assert len(desk.service.asked) == asked


async def test_another_version_is_fetched_and_put_into_use(
    desk: Desk, next_one: ScriptedService
) -> None:
    await desk.begin()
    async with desk.running():
        await desk.looks()
        desk.give(next_one)
        await desk.looks()
        await desk.until(lambda: "updated" in desk.told)
    assert desk.used[-1] == last_good(desk.shelf) == next_one.fingerprint
    assert desk.told == ["bundle_fetching", "bundle_fetched"] * 2 + ["updated"]
    assert desk.supply.status.version == "v1"


@pytest.mark.parametrize("fault", [ModelError("no such operator"), RuntimeError("a defect")])
async def test_one_that_cannot_be_opened_is_tried_once_in_an_hour(
    desk: Desk, next_one: ScriptedService, fault: Exception
) -> None:
    await desk.begin()
    good = desk.service.fingerprint
    desk.give(next_one)
    desk.fault = fault
    async with desk.running():
        await desk.until(lambda: "update_refused" in desk.told)
        asked = len(desk.service.asked)
        await desk.looks(5)
        assert desk.supply.status.state == "refused"
        assert str(fault) in (desk.supply.status.fault or "")
        assert len(desk.service.asked) == asked
    assert desk.used == [good, next_one.fingerprint]
    assert last_good(desk.shelf) == good
    desk.supply, desk.fault = desk.another(), None
    await desk.begin()
    assert desk.used[-1] == good
    manifests = desk.service.manifests
    async with desk.running():
        await desk.looks(4)
    assert desk.service.manifests == manifests + 1, "a refused one needs no second look"
    await desk.supply.forgive()
    desk.supply = desk.another()
    await desk.begin()
    async with desk.running():
        await desk.until(lambda: "updated" in desk.told)
    assert len(desk.service.asked) == asked, "it is still on the shelf"
    assert last_good(desk.shelf) == next_one.fingerprint


async def test_one_that_is_damaged_on_the_way_does_not_come_again_at_once(
    desk: Desk, next_one: ScriptedService
) -> None:
    await desk.begin()
    desk.give(next_one)
    desk.service.altered = lambda _path, _offset, data: b"\0" * len(data)
    async with desk.running():
        await desk.until(lambda: "update_refused" in desk.told)
        sent_bytes = desk.service.sent_bytes
        await desk.looks(3)
    assert desk.service.sent_bytes == sent_bytes
    assert "damaged" in (desk.supply.status.fault or "")


async def test_a_link_that_breaks_is_no_refusal(desk: Desk, next_one: ScriptedService) -> None:
    await desk.begin()
    desk.give(next_one)
    desk.service.break_after = 1
    async with desk.running():
        await desk.until(lambda: "updated" in desk.told)
    assert "update_refused" not in desk.told
    assert last_good(desk.shelf) == next_one.fingerprint


async def test_a_cloud_that_is_away_is_told_once(desk: Desk) -> None:
    await desk.begin()
    looks = 0

    def away(model: str, held: str) -> Any:
        nonlocal looks
        looks += 1
        raise LinkError("nobody there")

    desk.service.current = away  # type: ignore[method-assign]
    async with desk.running():
        await desk.until(lambda: looks > 3)
    assert desk.told.count("bundle_delayed") == 1
    assert desk.supply.status.state == "waiting"
    assert desk.supply.status.fault == "nobody there"


def _not_active(model: str, held: str) -> Any:
    raise PeerError("NOT_FOUND", f"no version of {model} is active here")


async def test_a_first_bundle_that_no_operator_has_activated_yet_is_waited_for(desk: Desk) -> None:
    active = desk.service.current
    desk.service.current = _not_active  # type: ignore[method-assign]
    begun = asyncio.create_task(desk.begin())
    await desk.until(lambda: desk.told)
    fault = desk.supply.status.fault or ""
    desk.service.current = active  # type: ignore[method-assign]
    async with asyncio.timeout(PATIENCE_S):
        await begun
    assert "no version of tiny is active" in fault
    assert "isthmus activate" in fault
    assert desk.told == ["bundle_delayed", "bundle_fetching", "bundle_fetched"]
    assert desk.used == [desk.service.fingerprint]


async def test_where_a_cloud_is_required_it_is_not_waited_for(desk: Desk) -> None:
    agent = replace(desk.config.agent, require_cloud=True)
    desk.config = structs.replace(desk.config, agent=agent)
    desk.service.current = _not_active  # type: ignore[method-assign]
    with pytest.raises(PeerError, match="no version of tiny is active"):
        await desk.another().ready()


async def test_one_that_ends_the_process_is_not_opened_at_the_next_start(
    desk: Desk, next_one: ScriptedService
) -> None:
    await desk.begin()
    good = desk.service.fingerprint
    desk.give(next_one)

    class KilledError(BaseException):
        pass

    async def killed(bundle: Path) -> None:
        if bundle.name == next_one.fingerprint:
            raise KilledError
        desk.used.append(bundle.name)

    async def swap(trial: Trial) -> None:
        await trial(killed)

    with pytest.raises(KilledError):
        async with asyncio.timeout(PATIENCE_S):
            await desk.supply.run(swap)
    desk.supply = desk.another()
    await desk.supply.ready()
    await desk.supply.opened(killed)
    assert desk.used[-1] == good
    assert "ended while it was being opened" in desk.shelf.refusal(next_one.fingerprint)


async def test_without_memory_for_both_it_waits_for_the_next_start(
    desk: Desk, next_one: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise ConfigError("restart the daemon instead")

    await desk.begin()
    desk.give(next_one)
    with monkeypatch.context() as patch:
        patch.setattr(supply, "require_memory", none_left)
        async with desk.running():
            await desk.until(lambda: "update_waits" in desk.told)
            asked = len(desk.service.asked)
            await desk.looks(3)
        assert desk.told.count("update_waits") == 1
        assert desk.supply.status.state == "waiting"
    desk.supply = desk.another()
    await desk.begin()
    assert desk.used[-1] == last_good(desk.shelf) == next_one.fingerprint
    assert len(desk.service.asked) == asked


async def test_one_that_waited_and_cannot_be_opened_makes_room_for_the_good_one(
    desk: Desk, next_one: ScriptedService
) -> None:
    await desk.begin()
    good = desk.service.fingerprint
    desk.give(next_one)
    with fetching.Fetcher(
        desk.config.bundle.source(desk.config.agent),  # type: ignore[union-attr]
        desk.shelf,
        dial=desk.service.dial,
    ) as fetcher:
        fetcher.bring(fetcher.look())
    desk.shelf.welcome(next_one.fingerprint)

    async def use(bundle: Path) -> str:
        if bundle.name != good:
            raise ModelError("no such operator")
        return bundle.name

    desk.supply = desk.another()
    await desk.supply.ready()
    assert await desk.supply.opened(use) == good
    assert desk.told[-1] == "update_refused"


async def test_somebody_elses_fetch_is_waited_for(desk: Desk, next_one: ScriptedService) -> None:
    await desk.begin()
    desk.give(next_one)
    with desk.shelf.arriving(_half_of(next_one)):
        async with desk.running():
            await desk.until(lambda: "bundle_delayed" in desk.told)
    assert "update_refused" not in desk.told


def _half_of(service: ScriptedService) -> Any:
    return service.current("tiny", "").half(None)


async def test_nothing_fetched_and_nothing_kept_is_said_at_a_reload(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="isthmus fetch"):
        await desk.supply.opened(desk.use)


BUNDLE = '[bundle]\nfrom = "cloud"\nmodel = "tiny"\n'
REST = '[endpoint]\nunix = "oip.sock"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BUNDLE + REST, "line 2.*needs its address"),
        (BUNDLE + '[agent]\ncloud = "127.0.0.1:1"\nbundle = "here"\n' + REST, "line 6.*leave one"),
        (BUNDLE.replace("cloud", "disk") + REST, "line 2.*from = 'disk': use 'cloud'"),
        (
            BUNDLE.replace("tiny", "../x") + '[agent]\ncloud = "127.0.0.1:1"\n' + REST,
            "line 3.*name",
        ),
        ('[bundle]\nfrom = "cloud"\n' + REST, "model is missing"),
        (BUNDLE + 'key = "x"\n' + REST, "did you mean 'keys'"),
        (BUNDLE + "agent = 3\n" + REST, "unknown key"),
    ],
)
def test_a_section_that_cannot_be_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(text, tmp_path / "edge.toml")


def test_an_agent_that_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a table"):
        parse_config("agent = 3\n" + BUNDLE + REST, tmp_path / "edge.toml")


def test_bundles_have_a_place_of_their_own(tmp_path: Path) -> None:
    text = BUNDLE + '[agent]\ncloud = "127.0.0.1:1"\n' + REST
    section = parse_config(text, tmp_path / "edge.toml").bundle
    assert section is not None
    assert section.folder == Path("/var/lib/isthmus/bundles/tiny")
