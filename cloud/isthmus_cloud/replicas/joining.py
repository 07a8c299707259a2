"""Ray itself: started here for one service, or the cluster that this machine is a node of."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]

from isthmus import ConfigError
from isthmus_cloud.replicas import own_node
from isthmus_cloud.replicas.settings import AUTO_ADDRESS, RaySettings

NAMESPACE = "isthmus"
OWN_LABEL = "isthmus-front-end"  # of nodes that front ends have started for themselves
OBJECT_STORE_BYTES = 512 * 1024 * 1024  # large calls on their way; of a node that is started here
STARTS = 2
ASK_S = 10
JOIN_WITHIN_S = 120.0
END_WITHIN_S = 10.0  # above what `own_node` takes
LOOK_S = 0.2

__all__ = ["NAMESPACE", "joined", "speak_as_the_service"]


def speak_as_the_service() -> None:
    """What Ray has to say in this process goes where the service's own lines go; of what it does as
    a matter of course it says nothing."""
    for name, level in (("ray", logging.ERROR), ("ray.serve", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(level)


@contextmanager
def joined(settings: RaySettings, announce: Callable[[str], None]) -> Iterator[None]:
    """This process is a driver of Ray as long as the context lasts; ConfigError if it cannot be."""
    if settings.address is None:
        announce("starting Ray on this machine")
        _start(announce)
        try:
            yield
        finally:
            ray.shutdown()
        return
    announce(f"joining the Ray cluster at {settings.address}")
    with _node_of(settings.address):
        try:
            yield
        finally:
            ray.shutdown()


def _start(announce: Callable[[str], None]) -> None:
    """A busy machine may take longer than Ray waits for itself: it is given a second chance."""
    for number in range(1, STARTS + 1):
        try:
            _init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES)
        except ConfigError as error:
            ray.shutdown()
            if number == STARTS:
                raise
            announce(f"{error}; trying again")
        else:
            return


@contextmanager
def _node_of(address: str) -> Iterator[None]:
    """Connected through a node of the cluster on this machine: one that is there, or one without
    cores that ends with the context."""
    if address == AUTO_ADDRESS:
        _init(address=address)
        yield
        return
    with ExitStack() as stack:
        # Ray ends this process where it believes in a node on this machine that is not there.
        folder = _folder_of_a_node_here(address) or stack.enter_context(_own_node(address))
        _init(address=address, _temp_dir=folder)  # by which Ray tells nodes of a machine apart
        yield


def _folder_of_a_node_here(address: str) -> str | None:
    """The folder of a node of the cluster on this machine. One that a front end has started is its
    own, and ends with it."""
    own = {address.address for each in psutil.net_if_addrs().values() for address in each}
    for node in _nodes(address):
        is_here = node.node_manager_address in own and _listens(node.raylet_socket_name)
        if is_here and OWN_LABEL not in node.labels:
            return str(node.temp_dir)
    return None


def _nodes(address: str) -> list[Any]:
    """Those that live; ConfigError if the cluster is silent."""
    try:
        nodes = GcsClient(address=address).get_all_node_info(timeout=ASK_S).values()
    except ray.exceptions.RayError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}); start its head (`ray start --head`), "
            "and give this machine the token of the cluster (RAY_AUTH_TOKEN_PATH)"
        ) from error
    return [node for node in nodes if node.state == GcsNodeInfo.ALIVE]


def _listens(name: str) -> bool:
    """Whether somebody is behind a Unix socket: one that has crashed leaves its file."""
    with socket.socket(socket.AF_UNIX) as end:
        try:
            end.connect(name)
        except OSError:
            return False
    return True


@contextmanager
def _own_node(address: str) -> Iterator[str]:
    """The folder of a node that offers nothing, for as long as the context lasts, or this process
    if that is shorter."""
    above = os.environ.get("RAY_TMPDIR")
    with TemporaryDirectory(prefix="isthmus-ray-", dir=above, ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
        command += ["--num-cpus=0", "--num-gpus=0", "--block", "--disable-usage-stats"]
        command += [f"--object-store-memory={OBJECT_STORE_BYTES}"]
        command += [f"--temp-dir={folder}", f"--labels={OWN_LABEL}=true"]
        node = subprocess.Popen(
            [sys.executable, "-I", own_node.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process, which needs it to the end
        )
        try:
            _await_node(address, folder, node, " ".join(command[2:6]))
            yield folder
        finally:
            _end(node)


def _await_node(address: str, folder: str, node: "subprocess.Popen[bytes]", command: str) -> None:
    until_s = time.monotonic() + JOIN_WITHIN_S
    while not any(
        each.temp_dir == folder and _listens(each.raylet_socket_name) for each in _nodes(address)
    ):
        if node.poll() is not None or time.monotonic() > until_s:
            raise ConfigError(
                f"this machine could not become a node of the Ray cluster at {address}; "
                f"`{command}` says why"
            )
        time.sleep(LOOK_S)


def _end(node: "subprocess.Popen[bytes]") -> None:
    """With all that it has started."""
    if node.stdin is not None:
        node.stdin.close()
    try:
        node.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def _init(**how: Any) -> None:
    try:
        ray.init(
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
            **how,
        )
    except Exception as error:  # Ray raises this very class where it does not start in time
        where = how.get("address", "on this machine")
        raise ConfigError(f"Ray {where}: {error}") from error
