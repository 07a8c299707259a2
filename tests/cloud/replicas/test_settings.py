"""What can be asked of replicas, from the command line on, and what cannot."""

import argparse
from typing import Any

import pytest

from isthmus import Bundle, ConfigError
from isthmus_cli.ray_flags import add_ray_flags, given_ray_flags, ray_settings
from isthmus_cloud import ServiceConfig
from isthmus_cloud.replicas.calls import release
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import narrowed, specs_of


def told(*arguments: str, engine: str = "ray") -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_ray_flags(parser)
    parser.set_defaults(engine=engine, provider="cpu")
    return parser.parse_args(arguments)


def test_without_flags_there_is_one_replica_of_a_ray_that_is_started_here() -> None:
    assert ray_settings(told()) == RaySettings(provider="cpu")


def test_every_flag_reaches_its_setting() -> None:
    given: dict[str, Any] = {
        "address": "10.0.0.1:6379",
        "replicas": "2:5",
        "target": 3.0,
        "up_s": 1.0,
        "down_s": 9.0,
        "cpus": 0.5,
        "gpus": 0.25,
        "engine": "torch",
        "drain_s": 4.0,
        "hang_s": 7.0,
        "models": 3,
    }
    words = [
        word
        for name, value in given.items()
        for word in (f"--ray-{name.replace('_', '-')}", str(value))
    ]
    del given["replicas"]
    assert ray_settings(told(*words)) == RaySettings(least=2, most=5, provider="cpu", **given)
    assert ray_settings(told("--ray-per-tail")) == RaySettings(per_tail=True, provider="cpu")


@pytest.mark.parametrize(("text", "span"), [("3", (3, 3)), ("1:4", (1, 4))])
def test_replicas_are_a_number_or_a_span(text: str, span: tuple[int, int]) -> None:
    settings = ray_settings(told("--ray-replicas", text))
    assert settings is not None
    assert (settings.least, settings.most) == span


@pytest.mark.parametrize("text", ["", ":", "1:", "many", "1:2:3", "1.5"])
def test_what_is_no_span_is_named(text: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="neither N nor MIN:MAX"):
        told("--ray-replicas", text)


@pytest.mark.parametrize(
    "words", [["--ray-cpus", "1"], ["--ray-per-tail"], ["--ray-replicas", "2", "--ray-gpus", "1"]]
)
def test_flags_for_replicas_need_the_engine_that_has_some(words: list[str]) -> None:
    options = told(*words, engine="onnxruntime")
    assert words[0] in given_ray_flags(options)
    with pytest.raises(ConfigError, match=f"{words[0]} is for replicas; add --engine ray"):
        ray_settings(options)
    assert ray_settings(told(engine="onnxruntime")) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"least": 0}, "replicas are 0 to 1; give MIN:MAX with 1 or more"),
        ({"least": 3, "most": 2}, "replicas are 3 to 2"),
        ({"cpus": 0}, "cpus of replicas is 0; allowed: above 0"),
        ({"target": float("nan")}, "target of replicas is nan"),
        ({"hang_s": float("inf")}, "hang_s of replicas is inf"),
        ({"gpus": -0.5}, "gpus of replicas is -0.5; allowed: 0 or more"),
        ({"gpus": 1.5}, "gpus of replicas is 1.5; allowed: a share of one, or a whole number"),
        ({"down_s": -1}, "down_s of replicas is -1"),
        ({"models": -1}, "models of replicas is -1"),
        ({"engine": "ray"}, "engine of the replicas is 'ray'; name what runs the tails there"),
        ({"engine": "abacus"}, "engine is 'abacus'"),
        ({"engine": "torch", "provider": "webgpu"}, "provider is 'webgpu'"),
        ({"per_tail": True, "models": 2}, "per_tail and models do not go together"),
        ({"address": "nowhere"}, "nowhere"),
        ({"address": ""}, "HOST:PORT"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_what_can(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RaySettings(**wrong)


@pytest.mark.parametrize(("cpus", "threads"), [(0.1, 1), (1.0, 1), (2.5, 2)])
def test_a_replica_has_as_many_threads_as_it_has_cores(cpus: float, threads: int) -> None:
    assert RaySettings(cpus=cpus).threads == threads


@pytest.mark.parametrize(("engine", "ray"), [("ray", None), ("onnxruntime", RaySettings())])
def test_the_engine_and_the_settings_of_replicas_go_together(
    bundle: Bundle, engine: str, ray: RaySettings | None
) -> None:
    with pytest.raises(ConfigError, match="go with the engine 'ray'"):
        ServiceConfig(bundle=bundle.path, engine=engine, ray=ray)


def test_a_bundle_is_one_deployment_or_one_for_each_tail(bundle: Bundle) -> None:
    (whole,) = specs_of(bundle, RaySettings(cpus=2.0, hang_s=5.0), max_batch=16)
    assert (whole.path, whole.fingerprint) == (str(bundle.path.absolute()), bundle.fingerprint)
    assert whole.release == release()
    assert (whole.threads, whole.max_batch, whole.hang_s, whole.cuts) == (2, 16, 5.0, ())
    each = specs_of(bundle, RaySettings(per_tail=True), max_batch=16)
    assert [spec.cuts for spec in each] == [("input",), ("cut",)]


def test_a_deployment_of_one_tail_knows_the_candidates_of_its_cut(bundle: Bundle) -> None:
    spec = specs_of(bundle, RaySettings(per_tail=True), max_batch=1)[1]
    manifest = narrowed(bundle.manifest, spec)
    assert [cut.id for cut in manifest.cuts] == ["cut"]
    assert {each.id for each in manifest.candidates} == {"cut-256", "cut-16"}
    whole = specs_of(bundle, RaySettings(), max_batch=1)[0]
    assert narrowed(bundle.manifest, whole) is bundle.manifest
