"""A setting that cannot be is named with what can."""

import pytest

from isthmus import ConfigError
from isthmus_partitioner import Goals, PlanConfig

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
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
        ("divergence_budget", 0.0, "above 0"),
        ("divergence_budget", NAN, "above 0"),
        ("edge_factor", NAN, "above 0"),
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
        ("divergence_budget", 1e-6),
        ("integer_only", True),
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


def test_the_floor_is_that_of_the_goals() -> None:
    assert PlanConfig(goals=Goals(min_agreement=0.5)).agreement_floor == 0.5
