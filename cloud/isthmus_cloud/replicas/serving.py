"""What a front end asks of Ray Serve and of the lease book; Ray's errors are made LinkErrors here.

Everything blocks.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import ray
from ray import serve

from isthmus import IsthmusError, LinkError
from isthmus_cloud.replicas.application import application
from isthmus_cloud.replicas.lease_actor import lease_book
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import Spec

ANSWER_S = 10.0

__all__ = ["RayServing", "asked"]


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Whatever Ray raises meanwhile is a LinkError: its errors have no class in common."""
    try:
        yield
    except IsthmusError:
        raise
    except Exception as error:
        raise LinkError(
            f"the Ray cluster does not answer ({what}): {type(error).__name__}: {error}"
        ) from error


def _in_time(call: Callable[[], Any]) -> Any:
    """What Ray waits for without a limit; TimeoutError after a while. The call is left alone then:
    Ray ends the process some time after the head has gone."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="ray-serve", daemon=True).start()
    return outcome.result(ANSWER_S)


class RayServing:
    """See `applications.Serving`."""

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        with asked("starting Ray Serve"):
            serve.start(proxy_location="Disabled")
            self._book = lease_book()

    def statuses(self) -> Mapping[str, Any]:
        """See `applications.Serving`."""
        with asked("which applications there are"):
            return dict(_in_time(serve.status).applications)

    def make(self, specs: Mapping[str, Spec | None], versions: Mapping[str, str]) -> None:
        """See `applications.Serving`."""
        targets = [
            serve.RunTarget(application(spec, self._settings, versions[name]), name, None)
            for name, spec in specs.items()
        ]
        with asked(f"making {', '.join(specs)}"):
            serve.run_many(
                targets,
                wait_for_ingress_deployment_creation=False,
                wait_for_applications_running=False,
            )

    def delete(self, names: Sequence[str]) -> None:
        """See `applications.Serving`."""
        with asked(f"deleting {', '.join(names)}"):
            for name in names:
                serve.delete(name, _blocking=False)
            _in_time(serve.status)  # the controller answers when it has heard of these

    def renew(self, front_end: str, names: Sequence[str]) -> None:
        """See `leases.LeaseBook`."""
        self._ask("renew", front_end, names)

    def release(self, front_end: str, names: Sequence[str]) -> None:
        """See `leases.LeaseBook`."""
        self._ask("release", front_end, names)

    def unused(self, names: Sequence[str]) -> Sequence[str]:
        """See `leases.LeaseBook`."""
        unused: list[str] = self._ask("unused", names)
        return unused

    def _ask(self, method: str, *arguments: object) -> Any:
        with asked(f"leases: {method}"):
            return ray.get(getattr(self._book, method).remote(*arguments), timeout=ANSWER_S)
