"""What a real device does on a real service is what the page says."""

from pathlib import Path

import pytest
from tests.cloud.conftest import ignore
from tests.cloud.device import Head, connected
from tests.commands import PATIENCE_S, Command
from tests.protos.web.asking import soon
from tests.protos.web.browsing import a_browser, shown, text_of
from tests.tinybundle import tiny_pictures

from isthmus import Bundle
from isthmus.web import Board
from isthmus_cloud import Core, ServiceConfig
from isthmus_cloud.disk_threads import DiskThreads
from isthmus_cloud.server import listening
from isthmus_cloud.startup import start_up
from isthmus_cloud.telemetry.dashboard import DashboardObserver
from isthmus_edge import Agent, AgentConfig

FREE = "127.0.0.1:0"


def totals(board: Board) -> dict[str, float | None]:
    return {total.name: total.value for total in board.totals}


async def test_a_device_its_frames_and_its_end(
    config: ServiceConfig, bundle: Bundle, head: Head
) -> None:
    board = DashboardObserver("tests")
    with DiskThreads() as disk:
        async with Core(config, board) as core:
            await start_up(config, core, ignore, disk)
            async with listening(config, core) as service, connected(service.address) as device:
                await device.hello(bundle.fingerprint)
                for sequence in (1, 2):
                    await device.send(frame=head.frame("cut-16", sequence))
                    await device.result()
                unknown = head.frame("cut-16", 3)
                unknown.candidate = "no-such-thing"
                await device.send(frame=unknown)
                await device.error()
                here = board.snapshot()
                device.call.cancel()
                await soon(lambda: not totals(board.snapshot())["devices"], "it left")
    gone = board.snapshot()
    told = totals(here)
    assert (told["devices"], told["answered"], told["errors"]) == (1, 2, 1)
    assert here.devices is not None
    (row,) = here.devices
    assert (row.candidate, row.answered, row.errors, row.until_s) == ("cut-16@0", 2, 1, None)
    assert row.peer.startswith("ipv4:127.0.0.1")
    (share,) = here.candidates
    assert (share.name, share.frames) == ("cut-16@0", 2)
    assert 0 < sum(share.parts_ms) <= share.mean_ms * 1.001
    assert here.batches
    assert {batch.size for batch in here.batches} == {1}
    assert [(each.is_active, each.streams) for each in here.models or ()] == [(True, 1)]
    assert gone.devices is not None
    assert gone.devices[0].until_s is not None


def test_a_browser_sees_a_real_device_of_a_real_service(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        Command("cloud", tiny_bundle, *("--listen", FREE, "--http", FREE)) as cloud,
        a_browser(tmp_path_factory) as browser,
    ):
        url = cloud.line("the dashboard is on").split()[-1]
        address = cloud.line("listening on ").split()[2]
        page = browser.page().open(f"{url}/")
        config = AgentConfig(
            bundle=tiny_bundle, cloud=address, candidate="cut-16@0", heed_vitals=False
        )
        with Agent.open(config) as agent:
            answer = agent.submit(tiny_pictures(1)[0][0]).result(PATIENCE_S)
            assert answer.place == "cloud"
            shown(page, "document.getElementById('devices').innerText.includes('cut-16@0')")
        shown(page, "document.getElementById('devices').innerText.includes('gone')")
        assert "tiny" in text_of(page, "#models")
        assert page.complaints() == []
        page.call("Page.navigate", url="about:blank")
