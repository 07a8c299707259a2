"""A tiny bundle with its frames, and servers of it in processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.services import Announced, Server, bare_command, cloud_command
from isthmus_bench.serve.subject import DEEPEST, Subject, make_subject


@pytest.fixture(scope="session")
def serve_config(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> ServeBenchConfig:
    return ServeBenchConfig(
        work=tmp_path_factory.mktemp("serve"),
        bundle=tiny_bundle,
        devices=2,
        many=2,
        rounds=1,
        seconds=0.1,
        warm_s=0.03,
        trials=1,
        pairs=1,
        pair_s=0.05,
        frames=3,
        idle_devices=0,
        peers=(),
        awake=False,
    )


@pytest.fixture(scope="session")
def subject(serve_config: ServeBenchConfig) -> Subject:
    return make_subject(serve_config, lambda _: None)


@pytest.fixture(scope="session")
def cloud(subject: Subject, serve_config: ServeBenchConfig) -> Iterator[Server]:
    command = cloud_command(subject.bundle.path, ("--provider", "cpu", "--threads", "1"))
    with Announced(command, serve_config.work / "cloud.log") as server:
        yield server


@pytest.fixture(scope="session")
def bare(subject: Subject, serve_config: ServeBenchConfig) -> Iterator[Server]:
    (served,) = subject.served[DEEPEST]
    with Announced(bare_command(served.spec, 1), serve_config.work / "bare.log") as server:
        yield server
