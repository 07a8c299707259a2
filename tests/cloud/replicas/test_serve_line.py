"""What becomes of a call whose replica raises, is gone, or is late: whatever Ray makes of it."""

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any, NoReturn

import grpc
import pytest
from tests.cloud.computing import RAY_WARNINGS, need_ray

from isthmus import BundleError, IsthmusError, ModelError
from isthmus_cloud.replicas.line import CallLostError

pytestmark = RAY_WARNINGS
Result = Callable[[Callable[[], Any], Callable[[], None]], bytes]


@pytest.fixture
def result() -> Result:
    """How a line waits; Ray is imported by the tests that need it."""
    need_ray()
    from isthmus_cloud.replicas.serve_line import _result  # noqa: PLC0415

    return _result


def raised(result: Result, error: BaseException, given_up: list[str]) -> IsthmusError:
    """What a line makes of an error of Ray; `given_up` hears of calls that were called off."""

    def wait() -> NoReturn:
        raise error

    with pytest.raises(IsthmusError) as found:
        result(wait, lambda: given_up.append("yes"))
    return found.value


def gone(name: str) -> BaseException:
    from ray.exceptions import ActorDiedError  # noqa: PLC0415

    kinds: dict[str, type[BaseException]] = {
        "actor died": ActorDiedError,
        "channel broke": grpc.RpcError,
        "cancelled": asyncio.CancelledError,
        "cancelled by a thread": concurrent.futures.CancelledError,
    }
    return kinds[name]()


@pytest.mark.parametrize(
    "name", ["actor died", "channel broke", "cancelled", "cancelled by a thread"]
)
def test_a_call_whose_replica_is_gone_is_lost(result: Result, name: str) -> None:
    assert isinstance(raised(result, gone(name), []), CallLostError)


def test_a_call_that_is_late_is_lost_and_called_off(result: Result) -> None:
    given_up: list[str] = []
    assert isinstance(raised(result, TimeoutError(), given_up), CallLostError)
    assert given_up == ["yes"]


@pytest.mark.parametrize("cause", [ValueError("a defect"), ModelError("a defect")])
def test_what_a_replica_raises_is_no_loss_however_it_comes(
    result: Result, cause: Exception
) -> None:
    """As Ray's own error through the object store, as it is by gRPC."""
    import ray.exceptions as rays  # noqa: PLC0415

    wrapped: Any = rays.RayTaskError("answer", f"Traceback\n{cause!r}", cause)  # type: ignore[no-untyped-call]
    for error in (wrapped, wrapped.as_instanceof_cause(), cause):
        found = raised(result, error, [])
        assert isinstance(found, ModelError)
        assert "a defect" in str(found)


def test_an_error_of_ours_comes_as_what_it_is(result: Result) -> None:
    assert isinstance(raised(result, BundleError("another one lies there"), []), BundleError)


def test_a_reply_that_is_no_bytes_is_refused(result: Result) -> None:
    assert result(lambda: b"reply", lambda: None) == b"reply"
    with pytest.raises(ModelError, match="answers with dict, not with bytes"):
        result(dict, lambda: None)
