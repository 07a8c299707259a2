"""Ray itself: started here for one service, or the cluster that this machine is a node of."""

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]

from isthmus import ConfigError
from isthmus_cloud.replicas.settings import AUTO_ADDRESS, RaySettings

NAMESPACE = "isthmus"
OBJECT_STORE_BYTES = 512 * 1024 * 1024  # large calls on their way; of a node that is started here
STARTS = 2
ASK_S = 10
JOIN_WITHIN_S = 120.0
END_WITHIN_S = 10.0
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
    with ExitStack() as stack:
        # Ray ends this process where it believes in a node on this machine that is not there.
        if address != AUTO_ADDRESS and not _has_node_here(address):
            stack.enter_context(_own_node(address))
        _init(address=address)
        yield


def _has_node_here(address: str) -> bool:
    """Whether a node of the cluster runs on this machine; ConfigError if the cluster is silent."""
    try:
        nodes = GcsClient(address=address).get_all_node_info(timeout=ASK_S).values()
    except ray.exceptions.RayError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}); start its head (`ray start --head`), "
            "and give this machine the token of the cluster (RAY_AUTH_TOKEN_PATH)"
        ) from error
    own = {address.address for each in psutil.net_if_addrs().values() for address in each}
    return any(
        node.state == GcsNodeInfo.ALIVE
        and node.node_manager_address in own
        and _listens(node.raylet_socket_name)
        for node in nodes
    )


def _listens(name: str) -> bool:
    """Whether somebody is behind a Unix socket: one that has crashed leaves its file."""
    with socket.socket(socket.AF_UNIX) as end:
        try:
            end.connect(name)
        except OSError:
            return False
    return True


@contextmanager
def _own_node(address: str) -> Iterator[None]:
    """A node that offers nothing, for as long as the context lasts."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
    command += ["--num-cpus=0", "--num-gpus=0", "--block", "--disable-usage-stats"]
    command += [f"--object-store-memory={OBJECT_STORE_BYTES}"]
    node = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until_s = time.monotonic() + JOIN_WITHIN_S
        while not _has_node_here(address):
            if node.poll() is not None or time.monotonic() > until_s:
                raise ConfigError(
                    f"this machine could not become a node of the Ray cluster at {address}; "
                    f"`{' '.join(command[2:6])}` says why"
                )
            time.sleep(LOOK_S)
        yield
    finally:
        node.terminate()
        with suppress(subprocess.TimeoutExpired):
            node.wait(END_WITHIN_S)
        node.kill()


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
