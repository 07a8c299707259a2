"""One session that goes from service to service and comes back: each frame still ends once."""

from collections import Counter
from random import Random

import pytest
from tests.protos.session.network import Cloud, Stream
from tests.protos.session.test_network_walks import STEPS, Walk

from isthmus.session import ServiceLimits
from isthmus.v1 import split_pb2 as pb

REPLICAS = 3
LIMITS = ServiceLimits(keep_bytes=1000)


class Replicas(Cloud):
    """Several services that know nothing of each other; each new stream leads to one by lot."""

    def __init__(self, limits: ServiceLimits, random: Random) -> None:
        super().__init__(limits)
        self._random = random
        self._all = [Cloud(limits) for _ in range(REPLICAS)]
        self._by_stream: dict[int, Cloud] = {}
        self.visits: Counter[int] = Counter()

    @property
    def replicas(self) -> list[Cloud]:
        return self._all

    def deliver(self, stream: Stream) -> None:
        if stream.number not in self._by_stream:
            index = self._random.randrange(REPLICAS)
            self._by_stream[stream.number] = self._all[index]
            self.visits[index] += 1
        self._by_stream[stream.number].deliver(stream)
        self._gather()

    def lose(self, stream: Stream) -> None:
        self._by_stream[stream.number].lose(stream)
        self._gather()

    def finish(self, sequence: int, outcome: pb.CloudMessage) -> None:
        """At one of those that work on it; the others go on."""
        working = [each for each in self._all if sequence in each.engine]
        self._random.choice(working).finish(sequence, outcome)
        self._gather()

    def pass_time(self, now: float) -> None:
        for each in self._all:
            each.pass_time(now)
        self._gather()

    def drain(self) -> None:
        """One of them ends, and is started anew when the next one drains."""
        for each in self._all:
            if each.is_draining:
                each.restart()
        self._random.choice(self._all).drain()
        self._gather()

    def restart(self) -> None:
        for each in self._all:
            each.restart()
        self._gather()

    def _gather(self) -> None:
        self.engine = [sequence for each in self._all for sequence in each.engine]


def life(seed: int, limits: ServiceLimits) -> tuple[Walk, Replicas]:
    walk = Walk(seed, limits)
    replicas = Replicas(limits, Random(seed))
    walk.steps[replicas.drain] = walk.steps.pop(walk.cloud.drain)
    walk.cloud = walk.network.cloud = replicas
    return walk, replicas


def test_wherever_a_device_goes_each_frame_ends_once_and_nothing_stays_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frame may be computed by several, but the device hears of one end."""
    monkeypatch.setattr(Walk, "twice", lambda _: set())
    ends: Counter[str] = Counter()
    for seed in range(20):
        walk, replicas = life(seed, LIMITS)
        walk.go(STEPS)
        for each in replicas.replicas:
            if each.is_draining:
                each.restart()
        walk.network.heal()
        walk.network.settle()
        walk.network.assert_all_is_over()
        now = walk.device.now
        for passed_s in (LIMITS.idle_s, LIMITS.resume_s):  # of what it has left without a word
            now += passed_s
            replicas.pass_time(now)
        for each in replicas.replicas:
            assert each.session is None or each.session.in_flight == frozenset()
            assert each.session is None or each.session.kept_bytes == 0
        assert len(replicas.visits) == REPLICAS
        ends.update(walk.device.ended.values())
    assert set(ends) == {"answered", "failed", "given up", "missing twice"}
    assert ends["answered"] > 200
