"""A tiny bundle as a subject of the scale bench."""

from pathlib import Path

import pytest

from isthmus_bench.scale.config import ScaleConfig
from isthmus_bench.scale.subject import Subject, make_subject


@pytest.fixture(scope="session")
def scale_config(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> ScaleConfig:
    return ScaleConfig(
        work=tmp_path_factory.mktemp("scale"),
        bundle=tiny_bundle,
        ray=False,
        tail_ms=4.0,
        short_tail_ms=2.0,
        fps=10.0,
        devices=2,
        window=2,
        loads=(0.3,),
        rounds=1,
        seconds=0.2,
        warm_s=0.05,
        load_s=0.3,
        kills=0,
        frames=3,
        fleets=(20, 3_000),
        cell_devices=50,
        sim_s=1.0,
        links_s=2.0,
        awake=False,
    )


@pytest.fixture(scope="session")
def scale_subject(scale_config: ScaleConfig) -> Subject:
    return make_subject(scale_config, lambda _: None)
