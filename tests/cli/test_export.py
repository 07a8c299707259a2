"""`isthmus export` from the command line: for Triton, and for Ray Serve."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.house.deployed import cloud_options

from isthmus import open_bundle
from isthmus_cli.ray_flags import ray_settings
from isthmus_cli.verbs import chosen_verb
from isthmus_cloud.replicas.naming import exported_name, options
from isthmus_cloud.replicas.spec import Spec, specs_of

# Ray's own: when it is imported, by the tests that need it; and of what its schema reads.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on `Field` is deprecated:DeprecationWarning",
    "ignore:The `metrics_interval_s` field in AutoscalingConfig is deprecated:DeprecationWarning",
)


def export(*arguments: object) -> int:
    return chosen_verb(["export", *map(str, arguments)])()


def test_it_says_what_it_wrote_and_what_comes_next(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("triton", tiny_bundle, "--out", tmp_path / "models") == 0
    told = capsys.readouterr().out
    assert told.count("written") == 3
    assert f"isthmus cloud {tiny_bundle} --engine triton://HOST:8001" in told
    assert export("triton", tiny_bundle, "--out", tmp_path / "models", "--json") == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert {each["name"] for each in models} == {
        path.name for path in (tmp_path / "models").iterdir()
    }
    assert [each["is_new"] for each in models] == [False] * 3
    assert all(each["size_bytes"] > 100 for each in models)


@pytest.mark.parametrize(
    ("form", "bundle", "words"),
    [("triton", "nowhere", "nowhere: no bundle here"), ("torchserve", "nowhere", "triton")],
)
def test_what_cannot_be_exported_is_refused(
    form: str, bundle: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = export(form, tmp_path / bundle, "--out", tmp_path / "models")
    except SystemExit as usage:
        status = int(str(usage.code))
    assert status in {1, 2}
    assert words in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What is said of a command line that does not do; it ends with 1."""
    assert export(*arguments) == 1
    return capsys.readouterr().err


def read(config: Path) -> dict[str, Any]:
    """The file as Ray Serve takes it, by its own schema."""
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - takes a second

    given: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    ServeDeploySchema.model_validate(given)
    return given


def test_a_serve_config_holds_what_front_ends_look_for(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name, arguments and options are those that a front end of the same flags would give."""
    out = tmp_path / "serve.yaml"
    flags = ("--ray-replicas", "2:5", "--ray-gpus", "0.25", "--ray-hang-s", "9")
    assert export("ray", tiny_bundle, "--out", out, *flags, "--max-batch", 8) == 0
    told = capsys.readouterr().out
    assert f"isthmus cloud {tiny_bundle} --engine ray" in told
    config = read(out)
    (application,) = config["applications"]
    settings = ray_settings(cloud_options([str(tiny_bundle), "--engine", "ray", *flags]))
    assert settings is not None
    (spec,) = specs_of(open_bundle(tiny_bundle, "cloud"), settings, max_batch=8)
    assert application["name"] == exported_name(spec)
    assert application["name"] in told
    assert Spec(**application["args"] | {"cuts": tuple(application["args"]["cuts"])}) == spec
    (deployment,) = application["deployments"]
    assert deployment == {"name": "tails"} | options(settings)
    assert deployment["autoscaling_config"]["max_replicas"] == 5
    assert config["proxy_location"] == "Disabled"


def test_every_tail_may_be_an_application_on_a_path_of_the_cluster(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "serve.yaml"
    where = ("--bundle-path", "/store/tiny")
    assert export("ray", tiny_bundle, "--out", out, "--ray-per-tail", "--json", *where) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == str(out)
    cuts = [cut.id for cut in open_bundle(tiny_bundle, "cloud").manifest.cuts if cut.tail]
    assert len(cuts) > 1
    assert [each["cuts"] for each in told["applications"]] == [[cut] for cut in cuts]
    for each, application in zip(told["applications"], read(out)["applications"], strict=True):
        assert application["name"] == each["name"]
        assert application["args"]["cuts"] == each["cuts"]
        assert application["args"]["path"] == each["path"] == "/store/tiny"


def test_a_config_of_several_bundles_replaces_the_one_before(
    tiny_bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "serve.yaml"
    assert export("ray", tiny_bundle, "--out", out) == 0
    assert export("ray", tiny_bundle, other_bundle, "--out", out) == 0
    paths = [each["args"]["path"] for each in read(out)["applications"]]
    assert paths == [str(tiny_bundle), str(other_bundle)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--bundle-path", "store/tiny"], "store/tiny: say where the bundle lies from the root"),
        (["--bundle-path", "/a", "--bundle-path", "/b"], "2 paths for 1 bundles"),
        (["--ray-replicas", "5:2"], "replicas are 5 to 2"),
        (["--ray-engine", "ray"], "engine of the replicas is 'ray'"),
        (["--max-batch", "0"], "max_batch is 0"),
    ],
)
def test_what_a_serve_config_cannot_say_is_refused(
    flags: list[str],
    words: str,
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "serve.yaml"
    assert words in refused(capsys, "ray", tiny_bundle, "--out", out, *flags)
    assert not out.exists()


def test_one_bundle_twice_is_refused(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = shutil.copytree(tiny_bundle, tmp_path / "again")
    out = tmp_path / "serve.yaml"
    assert "give each bundle once" in refused(capsys, "ray", tiny_bundle, again, "--out", out)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--ray-cpus", "2"], "--ray-cpus is for replicas of Ray Serve"),
        (["--bundle-path", "/b"], "--bundle-path is for replicas of Ray Serve"),
        (["--provider", "cpu"], "--provider is for replicas of Ray Serve"),
        (["another.bundle"], "one BUNDLE at a time"),
    ],
)
def test_triton_takes_nothing_that_is_for_ray(
    more: list[str],
    words: str,
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "models"
    assert words in refused(capsys, "triton", tiny_bundle, *more, "--out", out)
    assert not out.exists()


def test_without_ray_it_says_what_to_install(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)  # which comes with Ray
    words = refused(capsys, "ray", tiny_bundle, "--out", tmp_path / "serve.yaml")
    assert "install isthmus[ray]" in words


def test_a_file_that_cannot_be_written_is_named(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "serve.yaml"
    assert f"{out}: the Serve config cannot be written" in refused(
        capsys, "ray", tiny_bundle, "--out", out
    )
