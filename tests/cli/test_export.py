"""`isthmus export triton` from the command line."""

import json
from pathlib import Path

import pytest

from isthmus_cli.verbs import chosen_verb


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
