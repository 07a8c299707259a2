"""Environments of the other servers, and how each is started."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from isthmus import IsthmusError
from isthmus_bench.serve.config import PEER_NAMES
from isthmus_bench.serve.services import OipServer, free_port

INSTALL_S = 900.0
_HERE = Path(__file__).parent
_READY = "installed.json"  # in an environment that was made to its end

__all__ = ["MODEL_NAME", "PACKAGES", "Peer", "PeerError", "install"]

MODEL_NAME = "whole"
# The versions that the programs beside this were written for.
PACKAGES: Mapping[str, str] = {
    "kserve": "kserve==0.21.0",
    "mlserver": "mlserver==1.7.1",
    "pytriton": "nvidia-pytriton==0.7.0",
}
assert tuple(PACKAGES) == PEER_NAMES


class PeerError(IsthmusError):
    """A peer cannot be installed here."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that is installed in the environment `folder`."""

    name: str
    version: str
    folder: Path

    def serve(self, model: Path, threads: int, log: Path) -> OipServer:
        """Start it with one ONNX model, by the name `MODEL_NAME`; it is ready in its context."""
        port, http_port, metrics_port = free_port(), free_port(), free_port()
        environment = {}
        if self.name == "mlserver":
            ports = {"grpc_port": port, "http_port": http_port, "metrics_port": metrics_port}
            settings = _mlserver_settings(self.folder / "serve", model, threads, ports)
            command = [str(self.folder / "bin" / "mlserver"), "start", str(settings)]
            environment["PYTHONPATH"] = str(settings)
        else:
            program = _HERE / f"{self.name}_server.py"
            command = [str(self.folder / "bin" / "python"), str(program)]
            command += ["--model", str(model), "--name", MODEL_NAME, "--port", str(port)]
            command += ["--http-port", str(http_port), "--threads", str(threads)]
        if self.name == "pytriton":
            command += ["--metrics-port", str(metrics_port)]
            # Its Python backend would take the system's libpython, which may be another one.
            environment["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR"))
        return OipServer(command, log, environment, (port, MODEL_NAME))


def install(name: str, folder: Path) -> Peer:
    """The peer in an environment `folder`, which is made unless it is there; PeerError if not.

    Beside it, ONNX Runtime in the version that this environment has.
    """
    package = PACKAGES[name]
    runtime = f"onnxruntime=={_version(Path(sysconfig.get_path('purelib')), 'onnxruntime')}"
    wanted = [package, runtime]
    stamp = folder / _READY
    if not stamp.exists() or json.loads(stamp.read_bytes()) != wanted:
        _install(wanted, folder)
        stamp.write_text(json.dumps(wanted))
    return Peer(name, package.partition("==")[2], folder)


def _install(packages: Sequence[str], folder: Path) -> None:
    python = folder / "bin" / "python"
    try:
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run(
            [*_installer(python), *packages],
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"installing took more than {INSTALL_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        raise PeerError(f"it does not install: {said[-1] if said else error}") from error
    except OSError as error:
        raise PeerError(f"no environment could be made: {error}") from error


def _installer(python: Path) -> list[str]:
    """uv where it is there, for it is much faster; else pip."""
    uv = Path(sys.prefix) / "bin" / "uv"
    if uv.exists():
        return [str(uv), "pip", "install", "--quiet", "--system-certs", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "--quiet"]


def _version(site: Path, package: str) -> str:
    """Of an installed package; PeerError where it is not there (a GPU build has another name)."""
    for found in distributions(path=[str(site)]):
        if found.name.lower().replace("_", "-") in {package, f"{package}-gpu"}:
            return found.version
    raise PeerError(f"{package} is not installed here, so its version for the peers is not known")


def _mlserver_settings(folder: Path, model: Path, threads: int, ports: Mapping[str, int]) -> Path:
    """The folder that `mlserver start` takes: our runtime, the server's settings, the model's."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_HERE / "mlserver_runtime.py", folder)
    server = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    one = {
        "name": MODEL_NAME,
        "implementation": "mlserver_runtime.Whole",
        "parameters": {"uri": os.fspath(model), "extra": {"threads": threads}},
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(one))
    return folder
