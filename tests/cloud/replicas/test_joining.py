"""Which node of this machine a front end goes through, and how its own one ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cloud.computing import RAY_WARNINGS, need_ray

from isthmus_cloud.replicas import own_node

pytestmark = RAY_WARNINGS
PARENT = """\
import signal, subprocess, sys
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
signal.pause()
"""
CHILD = "import signal; print('lives', flush=True); signal.pause()"
END_S = 30.0  # a hang becomes a failure; no test waits for it to pass
OWN_NODE = [sys.executable, "-I", own_node.__file__]


@pytest.fixture
def raylet(tmp_path: Path) -> Iterator[str]:
    """The socket of a node, behind which is somebody."""
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "raylet"))
        end.listen()
        yield str(tmp_path / "raylet")


def test_a_node_of_this_machine_is_used_that_is_no_front_ends_own(
    raylet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_ray()
    from isthmus_cloud.replicas import joining  # noqa: PLC0415 - it needs Ray

    def node(folder: str, **facts: object) -> SimpleNamespace:
        here = {"node_manager_address": "127.0.0.1", "raylet_socket_name": raylet, "labels": {}}
        return SimpleNamespace(**here | facts, temp_dir=folder)

    nodes = [
        node("/elsewhere", node_manager_address="192.0.2.1"),
        node("/crashed", raylet_socket_name=f"{raylet}-gone"),
        node("/own", labels={joining.OWN_LABEL: "true"}),
    ]
    monkeypatch.setattr(joining, "_nodes", lambda _address: nodes)
    assert joining._folder_of_a_node_here("head:1") is None
    nodes.append(node("/tmp/ray"))  # noqa: S108 - nothing is there
    assert joining._folder_of_a_node_here("head:1") == "/tmp/ray"  # noqa: S108 - as above


def test_a_child_ends_with_its_parent_even_if_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *OWN_NODE, sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        try:
            assert parent.stdout.readline()
            parent.kill()
            parent.communicate(timeout=END_S)  # its end, which comes with that of all of them
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def test_a_child_that_ends_is_told_with_its_status() -> None:
    command = [*OWN_NODE, sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as node:
        assert node.wait(END_S) == 3


def test_a_child_ends_when_it_is_not_wanted_any_more() -> None:
    command = [*OWN_NODE, sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        assert node.stdout.readline()
        node.terminate()
        node.communicate(timeout=END_S)
        assert node.returncode == 1
