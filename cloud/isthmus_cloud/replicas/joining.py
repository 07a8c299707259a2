"""Ray itself: started here for one service, or the cluster that this machine is a node of."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray

from isthmus import ConfigError
from isthmus_cloud.replicas.settings import AUTO_ADDRESS, RaySettings

NAMESPACE = "isthmus"
OBJECT_STORE_BYTES = 512 * 1024 * 1024  # large calls on their way; of a Ray that is started here
JOIN_WITHIN_S = 120.0

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
        _init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES)
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


@contextmanager
def _node_of(address: str) -> Iterator[None]:
    """Connected through a node of the cluster on this machine: one that is there, or one without
    cores that ends with the context."""
    try:
        _init(address=address)
    except ConfigError as error:
        if address == AUTO_ADDRESS or _NO_NODE not in str(error):
            raise
    else:
        yield
        return
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
    command += ["--num-cpus=0", "--num-gpus=0", "--block", "--disable-usage-stats"]
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _init(address=address)
        yield
    finally:
        node.terminate()
        with suppress(subprocess.TimeoutExpired):
            node.wait(10)
        node.kill()


_NO_NODE = "no node"


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
