"""A machine that cannot write a plan's picture format says so at start, not frame by frame."""

from pathlib import Path

import pytest
from PIL import features

from isthmus import ConfigError
from isthmus_cloud import ServiceConfig, serve
from isthmus_edge import Agent, AgentConfig


@pytest.fixture
def without_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    check = features.check

    def lacking(feature: str) -> bool | None:
        return False if feature == "jpg" else check(feature)

    monkeypatch.setattr("isthmus.pictures.features.check", lacking)


@pytest.mark.usefixtures("without_jpeg")
def test_the_device_refuses_a_plan_whose_pictures_it_cannot_write(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="built without jpeg"):
        Agent.open(AgentConfig(bundle=tiny_bundle))


@pytest.mark.usefixtures("without_jpeg")
async def test_the_service_refuses_a_plan_whose_pictures_it_cannot_read(
    tiny_bundle: Path,
) -> None:
    config = ServiceConfig(bundle=tiny_bundle, threads=1)
    with pytest.raises(ConfigError, match="built without jpeg"):
        await serve(config, lambda _: None)
