"""A setting that cannot be is named with what can; so are pictures of the wrong kind."""

import numpy as np
import pytest
from tests.partitioner.networks import pictures

from isthmus import ConfigError
from isthmus_partitioner import PictureSets, PlanConfig

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("agreement_floor", 1.5, "0-1"),
        ("agreement_floor", NAN, "0-1"),
        ("edge_factor", 0.0, "above 0"),
        ("edge_network_ms", -1.0, "above 0"),
        ("steps", (), "distinct, above 0"),
        ("steps", (0.5, 0.0), "distinct, above 0"),
        ("steps", (0.5, INF), "distinct, above 0"),
        ("steps", (0.5, 0.5), "distinct, above 0"),
        ("pictures", (), "of avif, jpeg, webp"),
        ("pictures", ("webp",), "jpeg, and others"),
        ("pictures", ("jpeg", "gif"), "of avif, jpeg, webp"),
        ("pictures", ("jpeg", "jpeg"), "each once"),
        ("qualities", (), "distinct, 1-100"),
        ("qualities", (95, 95), "distinct, 1-100"),
        ("qualities", (0,), "distinct, 1-100"),
        ("qualities", (101,), "distinct, 1-100"),
        ("max_cuts", -1, "0 or more"),
        ("kl_budget", 0.0, "above 0"),
        ("fp32_layers", (), "counts of 0 or more"),
    ],
)
def test_an_impossible_setting_is_named_with_what_is_allowed(
    key: str, value: object, allowed: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        PlanConfig(**{key: value})  # type: ignore[arg-type]
    message = str(refused.value)
    assert message.startswith(f"{key} is {value}; allowed: ")
    assert allowed in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("agreement_floor", 0.0),
        ("steps", (2.0,)),
        ("pictures", ("avif", "jpeg")),
        ("qualities", (1, 100)),
        ("lossless_pictures", True),
        ("bottleneck", False),
        ("max_cuts", 0),
    ],
)
def test_what_is_just_possible_is_allowed(key: str, value: object) -> None:
    assert getattr(PlanConfig(**{key: value}), key) == value  # type: ignore[arg-type]


def test_pictures_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"calibration pictures are uint8 \[2, 32, 32, 3\]"):
        PictureSets(pictures(2), pictures(4))
    with pytest.raises(ConfigError, match="evaluation pictures are float32"):
        PictureSets(pictures(4), pictures(4).astype(np.float32))


def test_a_third_of_the_calibration_pictures_is_held_back() -> None:
    given = pictures(9)
    sets = PictureSets(given, pictures(1))
    assert np.array_equal(sets.fitted, given[:6])
    assert np.array_equal(sets.held_back, given[6:])
