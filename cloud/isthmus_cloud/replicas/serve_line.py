"""The way to the replicas of one deployment, through its handle.

Small calls go by Serve's own gRPC transport, large ones through Ray's object store.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import grpc
import msgspec
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from isthmus import IsthmusError, ModelError
from isthmus_cloud.replicas.line import CallLostError
from isthmus_cloud.replicas.spec import Spec, spec_id

MOST_HANDLES = 256  # of replicas; they come and go
_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)

__all__ = ["ServeLine"]


class ServeLine:
    """To the replicas of a deployment. `is_shared`: they hold several specs, and are told with each
    call which one it is for. A call of `large_bytes` goes through the object store."""

    def __init__(
        self,
        application: str,
        deployment: str,
        spec: Spec,
        *,
        is_shared: bool,
        large_bytes: float,
    ) -> None:
        self._handle = serve.get_deployment_handle(deployment, application)
        self._spec = msgspec.json.encode(spec) if is_shared else b""
        self._model = spec_id(spec) if is_shared else ""
        self._large_bytes = large_bytes
        self._lock = threading.Lock()
        self._handles: dict[tuple[str, str, bool], DeploymentHandle[Any]] = {}

    def describe(self, within_s: float) -> bytes:
        """An encoded `Description`; CallLostError or ModelError if there is none."""
        call = self._to("describe", "", by_reference=False).remote(self._spec)
        return self.reply(call, within_s)

    def send(self, replica: str, call: bytes) -> Any:
        """See `Line.send`."""
        handle = self._to("answer", replica, by_reference=len(call) >= self._large_bytes)
        try:
            return handle.remote(self._spec, call)
        except (RayError, RayServeException, RuntimeError) as error:  # Ray ends, or has ended
            raise CallLostError(f"{type(error).__name__}: {_last_line(error)}") from error

    def reply(self, call: Any, within_s: float) -> bytes:
        """See `Line.reply`."""
        return _result(lambda: call.result(timeout_s=max(within_s, 0.0)), call.cancel)

    def _to(self, method: str, replica: str, *, by_reference: bool) -> "DeploymentHandle[Any]":
        key = (method, replica, by_reference)
        with self._lock:
            if key not in self._handles:
                if len(self._handles) >= MOST_HANDLES:
                    self._handles.clear()
                self._handles[key] = self._handle.options(
                    method_name=method,
                    session_id=replica,
                    multiplexed_model_id=self._model,
                    _by_reference=by_reference,
                )
            return self._handles[key]


def _result(wait: Callable[[], Any], give_up: Callable[[], None]) -> bytes:
    try:
        result = wait()
    except RayTaskError as error:
        raise ModelError(f"a replica failed: {_last_line(error)}") from error
    except IsthmusError:
        raise
    except TimeoutError as error:
        give_up()
        raise CallLostError("no replica has answered in time") from error
    except (RayError, RayServeException, grpc.RpcError, *_CANCELLED) as error:
        raise CallLostError(f"{type(error).__name__}: {_last_line(error)}") from error
    except Exception as error:  # what a replica raises comes as it is by gRPC
        what = f"{type(error).__name__}: {_last_line(error)}"
        raise ModelError(f"a replica failed: {what}") from error
    if not isinstance(result, bytes):
        raise ModelError(f"a replica answers with {type(result).__name__}, not with bytes")
    return result


def _last_line(error: BaseException) -> str:
    """Ray's messages hold tracebacks; what it was stands at their end."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else ""
