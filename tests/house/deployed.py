"""What containers would be started with, and how it is tried on this machine without them."""

import argparse
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterable, Mapping
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import yaml

from isthmus_cli import cloud as cloud_verb

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = DOCKER / "compose.yaml"


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def entrypoint(image: str) -> list[str]:
    """What the image puts before the arguments of `isthmus cloud`."""
    text = (DOCKER / f"{image}.Dockerfile").read_text(encoding="utf-8")
    (words,) = re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
    program, verb, *flags = json.loads(words)
    assert (program, verb) == ("isthmus", "cloud")
    return [str(flag) for flag in flags]


def cloud_options(arguments: Iterable[str]) -> argparse.Namespace:
    """As `isthmus cloud` reads them; a flag that it does not have ends the test."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    cloud_verb.add_arguments(parser)
    return parser.parse_args(list(arguments))


def on_this_machine(arguments: Iterable[str], places: Mapping[str, object]) -> list[str]:
    """The same with paths of this machine, and with free ports of its loopback."""
    moved = []
    for argument in arguments:
        changed = re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", argument)
        for place, here in places.items():
            changed = changed.replace(place, str(here))
        moved.append(changed)
    return moved


def make_secrets(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """What docker/make-secrets does for this folder, with the `isthmus` of these tests."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [DOCKER / "make-secrets", *names],
        cwd=folder.parent,
        env=os.environ | {"SECRETS": folder.name, "PATH": search},
        capture_output=True,
        text=True,
        check=False,
    )


def ready(port: int | str) -> int:
    """How the images' health check ends."""
    check = (sys.executable, DOCKER / "ready.py", str(port))
    return subprocess.run(check, check=False, timeout=30).returncode


def scraped(port: int, *, authority: Path, server_name: str, token: str) -> tuple[int, str]:
    """Status and body of `/metrics`, as Prometheus asks: by address, checking this name."""
    context = ssl.create_default_context(cafile=authority)
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection = HTTPSConnection(server_name, port)
    connection.sock = context.wrap_socket(plain, server_hostname=server_name)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
    reply = connection.getresponse()
    try:
        return reply.status, reply.read().decode()
    finally:
        connection.close()
