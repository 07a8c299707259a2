"""Environments of the other servers, and the commands that start them; nothing is installed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from isthmus_bench.serve.peers import environment
from isthmus_bench.serve.peers.environment import MODEL_NAME, PACKAGES, Peer, install


class Started:
    """Remembers how a server would be started."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        variables: Mapping[str, str],
        at: tuple[int, str],
    ) -> None:
        self.command, self.log, self.variables, self.at = list(command), log, variables, at


def started(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    monkeypatch.setattr(environment, "OipServer", Started)
    server = Peer(name, "1.0", folder).serve(folder / "model.onnx", 2, folder / "log")
    assert isinstance(server, Started)
    return server


@pytest.mark.parametrize("name", ["kserve", "pytriton"])
def test_a_program_of_ours_serves_the_model_in_the_peer_s_environment(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started(name, tmp_path, monkeypatch)
    python, program, *flags = server.command
    assert python == str(tmp_path / "bin" / "python")
    assert Path(program).is_file()
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    assert (given["--model"], given["--name"]) == (str(tmp_path / "model.onnx"), MODEL_NAME)
    assert (given["--threads"], given["--port"]) == ("2", str(server.at[0]))
    assert ("LD_LIBRARY_PATH" in server.variables) == (name == "pytriton")


def test_mlserver_is_given_a_folder_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started("mlserver", tmp_path, monkeypatch)
    folder = Path(server.command[-1])
    assert server.command[:2] == [str(tmp_path / "bin" / "mlserver"), "start"]
    settings = json.loads((folder / "settings.json").read_bytes())
    model = json.loads((folder / "model-settings.json").read_bytes())
    assert settings["grpc_port"] == server.at[0]
    module, _, kind = model["implementation"].partition(".")
    assert f"class {kind}" in (folder / f"{module}.py").read_text(encoding="utf-8")
    assert model["parameters"]["extra"] == {"threads": 2}
    assert server.variables["PYTHONPATH"] == str(folder)


def test_an_environment_is_made_once_for_each_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def fake(packages: Sequence[str], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        asked.append(packages)

    monkeypatch.setattr(environment, "_install", fake)
    peers = [install("kserve", tmp_path / "kserve") for _ in range(2)]
    assert [peer.version for peer in peers] == ["0.21.0", "0.21.0"]
    assert len(asked) == 1
    assert asked[0][0] == PACKAGES["kserve"]
    assert asked[0][1].startswith("onnxruntime==")
    monkeypatch.setattr(environment, "PACKAGES", {"kserve": "kserve==0.22.0"})
    assert install("kserve", tmp_path / "kserve").version == "0.22.0"
    assert len(asked) == 2
