"""Which applications a front end finds, makes, keeps and lets go; of a Ray Serve that is fake."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from tests.cloud.replicas.lines import spec_of

from isthmus import Bundle, BundleError, ConfigError, IsthmusError, LinkError, ModelError
from isthmus_cloud.replicas import applications
from isthmus_cloud.replicas.applications import Applications
from isthmus_cloud.replicas.leases import LEASE_S, LeaseBook
from isthmus_cloud.replicas.naming import exported_name, is_made, made_name
from isthmus_cloud.replicas.settings import RaySettings
from isthmus_cloud.replicas.spec import Spec


class State(Enum):
    """As Ray Serve says it."""

    DEPLOYING = "DEPLOYING"
    RUNNING = "RUNNING"
    DELETING = "DELETING"
    DEPLOY_FAILED = "DEPLOY_FAILED"


@dataclass
class Told:
    """Of one deployment of an application."""

    message: str


@dataclass
class Status:
    """See Ray's `ApplicationStatusOverview`."""

    status: State = State.DEPLOYING
    message: str = ""
    last_deployed_time_s: float = 0.0
    deployments: dict[str, Told] = field(default_factory=dict)


def _nothing() -> None: ...


class FakeServing(LeaseBook):
    """Serve and a lease book in this process: what is deployed in the version that it has stays as
    it is, what is deleted goes when `pass_time` is called."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(lambda: self.now_s)
        self.there: dict[str, Status] = {}
        self.versions: dict[str, str] = {}
        self.made: list[str] = []  # whose replicas have been started
        self.before_make: Callable[[], object] = _nothing
        self.is_silent = False

    def statuses(self) -> Mapping[str, Any]:
        self._answer()
        return dict(self.there)

    def make(self, specs: Mapping[str, Spec | None], versions: Mapping[str, str]) -> None:
        before, self.before_make = self.before_make, _nothing
        before()
        self._answer()
        for name in specs:
            self.now_s += 1.0
            found = self.there.get(name)
            if found is None or found.status is State.DELETING:
                self.versions.pop(name, None)
            if self.versions.get(name) != versions[name]:
                self.versions[name] = versions[name]
                self.there[name] = Status(last_deployed_time_s=self.now_s)
                self.made.append(name)

    def delete(self, names: Sequence[str]) -> None:
        self._answer()
        for name in names:
            self.there[name].status = State.DELETING

    def renew(self, front_end: str, names: Iterable[str]) -> None:
        self._answer()
        super().renew(front_end, names)

    def release(self, front_end: str, names: Iterable[str]) -> None:
        self._answer()
        super().release(front_end, names)

    def pass_time(self) -> None:
        for name, status in tuple(self.there.items()):
            if status.status is State.DELETING:
                del self.there[name]
            elif status.status is State.DEPLOYING:
                status.status = State.RUNNING

    def _answer(self) -> None:
        if self.is_silent:
            raise LinkError("the cluster is silent")


@pytest.fixture
def serving() -> FakeServing:
    return FakeServing()


@pytest.fixture
def spec(bundle: Bundle) -> Spec:
    return spec_of(bundle)


SETTINGS = RaySettings()


def front_end(serving: FakeServing, name: str, settings: RaySettings = SETTINGS) -> Applications:
    """Whose waiting is time that passes there."""

    def pause(_seconds: float) -> bool:
        serving.pass_time()
        return False

    return Applications(serving, settings, name, pause)


@contextmanager
def refused(kind: type[IsthmusError], words: str) -> Iterator[None]:
    with pytest.raises(kind, match=words) as raised:
        yield
    assert type(raised.value) is kind


def test_an_application_is_made_and_goes_with_its_last_front_end(
    serving: FakeServing, spec: Spec
) -> None:
    one, two = front_end(serving, "one"), front_end(serving, "two")
    with one.used([spec]) as (name,):
        assert name == made_name(spec, SETTINGS)
        with two.used([spec]) as names:
            assert names == [name]
            assert serving.made == [name]
        one.look_after()
        assert serving.there[name].status is State.RUNNING
    assert serving.there[name].status is State.DELETING


def test_a_front_end_that_uses_one_twice_releases_it_once(serving: FakeServing, spec: Spec) -> None:
    one = front_end(serving, "one")
    with one.used([spec]) as (name,):
        with one.used([spec]):
            pass
        assert serving.there[name].status is State.RUNNING
    assert serving.there[name].status is State.DELETING


def test_two_front_ends_that_come_at_once_have_one_set_of_replicas(
    serving: FakeServing, spec: Spec
) -> None:
    """The second comes after the first has looked, and before it has made what it missed."""
    one, two = front_end(serving, "one"), front_end(serving, "two")
    with ExitStack() as stack:
        serving.before_make = lambda: stack.enter_context(two.used([spec]))
        names = stack.enter_context(one.used([spec]))
        assert serving.made == names


@pytest.mark.parametrize("found", [None, State.DELETING])
def test_what_is_gone_is_made_again_by_whoever_uses_it(
    serving: FakeServing, spec: Spec, found: State | None
) -> None:
    one = front_end(serving, "one")
    with one.used([spec]) as (name,):
        serving.delete([name])
        if found is None:
            serving.pass_time()
        one.look_after()
        assert serving.made == [name, name]
        one.look_after()
        serving.pass_time()
        one.look_after()
        assert serving.made == [name, name]
        assert serving.there[name].status is State.RUNNING


def test_what_goes_while_it_is_waited_for_is_made_again(serving: FakeServing, spec: Spec) -> None:
    steps: list[Callable[[], object]] = [serving.pass_time, serving.there.clear]

    def pause(_seconds: float) -> bool:
        if serving.made and not serving.there:
            one.look_after()
        else:
            steps.pop()()
        return False

    one = Applications(serving, SETTINGS, "one", pause)
    with one.used([spec]) as names:
        assert serving.made == [*names, *names]


def test_a_version_that_comes_back_is_deployed_anew(serving: FakeServing, spec: Spec) -> None:
    one = front_end(serving, "one")
    for _ in range(2):
        with one.used([spec]) as (name,):
            assert serving.there[name].status is State.RUNNING
        serving.pass_time()
        assert not serving.there
    assert serving.made == [name, name]


def test_what_a_killed_front_end_has_left_behind_is_deleted(
    serving: FakeServing, spec: Spec
) -> None:
    killed = front_end(serving, "killed").used([spec])
    killed.__enter__()
    (name,) = serving.there
    one = front_end(serving, "one")
    one.look_after()
    assert serving.there[name].status is State.RUNNING
    serving.now_s += LEASE_S + 1.0
    one.look_after()
    assert serving.there[name].status is State.DELETING


def test_a_delete_that_was_lost_is_said_again(serving: FakeServing, spec: Spec) -> None:
    one = front_end(serving, "one")
    with one.used([spec]) as (name,):
        pass
    serving.there[name].status = State.RUNNING
    one.look_after()
    assert serving.there[name].status is State.DELETING


def test_one_that_was_deployed_by_a_file_is_used_and_left(serving: FakeServing, spec: Spec) -> None:
    exported = exported_name(spec)
    serving.there[exported] = Status(State.RUNNING)
    one = front_end(serving, "one")
    with one.used([spec]) as names:
        assert names == [exported]
        one.look_after()
    one.look_after()
    assert serving.there[exported].status is State.RUNNING
    assert not serving.made


def test_one_of_a_file_that_is_being_deleted_is_not_used(serving: FakeServing, spec: Spec) -> None:
    serving.there[exported_name(spec)] = Status(State.DELETING)
    with front_end(serving, "one").used([spec]) as (name,):
        assert is_made(name)


def test_one_of_a_file_that_goes_before_it_is_ready_is_an_error(
    serving: FakeServing, spec: Spec
) -> None:
    exported = exported_name(spec)
    serving.there[exported] = Status(State.DEPLOYING)

    def goes(_seconds: float) -> bool:
        serving.delete([exported])
        return False

    one = Applications(serving, SETTINGS, "one", goes)
    with refused(ModelError, f"{exported} is being deleted"), one.used([spec]):
        pass
    assert not serving.made


def test_one_of_a_file_that_has_failed_is_an_error(serving: FakeServing, spec: Spec) -> None:
    serving.there[exported_name(spec)] = Status(State.DEPLOY_FAILED, "no such bundle")
    with refused(ModelError, "cannot be deployed: no such bundle"):
        front_end(serving, "one").used([spec]).__enter__()
    assert not serving.made


FAILURES = {
    "bundle": (
        "\x1b[36mray::ServeReplica:a:tails.initialize_and_get_metadata()\x1b[39m\n"
        "  File replica.py, line 36\nisthmus.errors.BundleError: /b: holds another bundle\n",
        BundleError,
        "^/b: holds another bundle$",
    ),
    "last": (
        "isthmus.errors.ModelError: first\nDuring handling ...\nConfigError: give one release\n",
        ConfigError,
        "^give one release$",
    ),
    "strange": ("OSError: no space left\n", ModelError, "cannot be deployed: OSError: no space"),
    "silent": ("", ModelError, "cannot be deployed: Ray Serve says no more"),
}


@pytest.mark.parametrize(("told", "kind", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_on_replicas_is_told_and_the_application_goes(
    serving: FakeServing, spec: Spec, told: str, kind: type[IsthmusError], words: str
) -> None:
    one = front_end(serving, "one")

    def fails(_seconds: float) -> bool:
        (status,) = serving.there.values()
        status.status = State.DEPLOY_FAILED
        status.deployments["tails"] = Told(told)
        return False

    with refused(kind, words):
        Applications(serving, SETTINGS, "one", fails).used([spec]).__enter__()
    assert [status.status for status in serving.there.values()] == [State.DELETING]
    with one.used([spec]) as names:  # which is tried anew
        assert serving.made == [*names, *names]


def test_one_that_has_failed_and_is_still_there_is_tried_once_by_all(
    serving: FakeServing, spec: Spec
) -> None:
    """Serve would do nothing if the version were that which has failed."""
    name = made_name(spec, SETTINGS)
    serving.make({name: spec}, {name: "1"})
    serving.there[name].status = State.DEPLOY_FAILED
    one, two = front_end(serving, "one"), front_end(serving, "two")
    with ExitStack() as stack:
        serving.before_make = lambda: stack.enter_context(two.used([spec]))
        stack.enter_context(one.used([spec]))
        assert serving.made == [name, name]


def test_models_that_share_replicas_share_an_application(
    serving: FakeServing, bundle: Bundle
) -> None:
    specs = [spec_of(bundle, (cut,)) for cut in ("input", "cut")]
    settings = RaySettings(models=2)
    with front_end(serving, "one", settings).used(specs) as names:
        assert names == [made_name(None, settings)] * 2
        assert serving.made == names[:1]
    with front_end(serving, "one").used(specs) as names:
        assert len({*names}) == 2


def test_a_cluster_that_is_silent_is_an_error_before_and_none_at_the_end(
    serving: FakeServing, spec: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    one = front_end(serving, "one")
    with one.used([spec]) as (name,):
        serving.is_silent = True
        with refused(LinkError, "silent"):
            one.look_after()
    assert f"{name} are not released yet" in caplog.text
    with refused(LinkError, "silent"):
        one.used([spec]).__enter__()
    serving.is_silent = False
    serving.now_s += LEASE_S + 1.0
    one.look_after()
    assert serving.there[name].status is State.DELETING


def test_what_could_not_be_made_is_not_kept(serving: FakeServing, spec: Spec) -> None:
    one = front_end(serving, "one")
    serving.before_make = lambda: setattr(serving, "is_silent", True)
    with refused(LinkError, "silent"):
        one.used([spec]).__enter__()
    serving.is_silent = False
    one.look_after()
    serving.now_s += LEASE_S + 1.0
    assert serving.unused([made_name(spec, SETTINGS)])
    assert not serving.made


def test_a_front_end_that_ends_waits_no_longer(serving: FakeServing, spec: Spec) -> None:
    one = Applications(serving, SETTINGS, "one", lambda _: True)
    with refused(LinkError, "the service ends"):
        one.used([spec]).__enter__()


def test_replicas_that_do_not_come_are_told_with_what_they_may_lack(
    serving: FakeServing, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications, "READY_WITHIN_S", 0.0)
    one = Applications(serving, SETTINGS, "one", lambda _: False)
    with refused(LinkError, "no replica is ready after 0 s; see whether the cluster has the cores"):
        one.used([spec]).__enter__()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("1 replica\n needs {'GPU': 1}", "1 replica needs {'GPU': 1}"),
        ("", "see whether the cluster"),
    ],
)
def test_what_is_waited_for_is_in_the_log(
    serving: FakeServing,
    spec: Spec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: str,
    told: str,
) -> None:
    monkeypatch.setattr(applications, "SAID_S", 0.0)

    def pause(_seconds: float) -> bool:
        for each in serving.there.values():
            each.deployments = {"tails": Told(said)}
        return bool(caplog.messages)

    with refused(LinkError, "the service ends"):
        Applications(serving, SETTINGS, "one", pause).used([spec]).__enter__()
    (line,) = caplog.messages
    assert f"its replicas are not ready after 0 s; {told}" in line
