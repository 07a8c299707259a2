"""The ways to run our service, as far as it knows the flags."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from isthmus import ConfigError
from isthmus_bench.serve.config import ServeBenchConfig, quick_serve
from isthmus_bench.serve.variants import (
    BATCHED,
    GPU_BATCHED,
    NO_JOINS,
    UNBATCHED,
    VARIANTS,
    Variant,
    why_no_gpu,
)
from isthmus_cli import cloud

OLD = "--provider --workers --threads"


def variant(name: str) -> Variant:
    return next(each for each in VARIANTS if each.name == name)


def test_a_service_without_batches_is_unbatched_as_it_is() -> None:
    assert variant(UNBATCHED).flags_for(OLD) == ("--provider", "cpu")
    assert variant(UNBATCHED).flags_for(f"{OLD} --max-batch") == (
        "--provider",
        "cpu",
        "--max-batch",
        "1",
    )


def test_what_a_service_has_no_flag_for_is_not_run() -> None:
    assert variant(BATCHED).flags_for(OLD) is None
    assert variant(BATCHED).missing(OLD) == ["--max-batch"]
    assert variant(NO_JOINS).flags_for(f"{OLD} --max-batch") is None
    assert variant(NO_JOINS).flags_for(f"{OLD} --max-batch --no-joins") is not None


def test_every_variant_can_be_run_by_the_service_of_this_checkout() -> None:
    parser = argparse.ArgumentParser()
    cloud.add_arguments(parser)
    known = parser.format_help()
    assert [each.name for each in VARIANTS if each.flags_for(known) is None] == []


def test_without_a_gpu_provider_there_is_a_reason() -> None:
    assert why_no_gpu(["CUDAExecutionProvider", "CPUExecutionProvider"]) is None
    assert "CPUExecutionProvider" in (why_no_gpu(["CPUExecutionProvider"]) or "")
    assert variant(GPU_BATCHED).gpu


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "vgg"}, "'vgg'"),
        ({"peers": ("torchserve",)}, "'torchserve'"),
        ({"slo_ms": 0.0}, "slo_ms is 0"),
        ({"rounds": 0}, "rounds is 0"),
        ({"idle_devices": -1}, "idle_devices is -1"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        ServeBenchConfig(work=tmp_path, **changes)


def test_quick_is_less(tmp_path: Path) -> None:
    quick = quick_serve(tmp_path)
    whole = ServeBenchConfig(work=tmp_path)
    assert (quick.rounds, quick.seconds, quick.peers) < (whole.rounds, whole.seconds, whole.peers)
