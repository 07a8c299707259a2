"""Answers that come in another order, twice, never, too late, or broken."""

from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, until
from tests.integration.faults.lying import Backwards, Garbled, Overloaded, lying
from tests.integration.faults.processes import CountedCloud
from tests.integration.faults.settling import Settle
from tests.integration.faults.traffic import WINDOW, opened


@pytest.mark.fault("results out of order and doubled")
def test_results_out_of_order_and_doubled_answer_each_frame_once(
    tiny_bundle: Path, settle: Settle
) -> None:
    with (
        lying(tiny_bundle, Backwards()) as address,
        opened(tiny_bundle, address, patience_ms=PATIENCE_S * 1e3) as traffic,
    ):
        traffic.send(6 * WINDOW)
        tally = settle(traffic)
        until(
            lambda: traffic.agent.stats().duplicates == tally.accepted,
            "the second answers have come and are dropped",
        )
    assert tally.accepted == tally.cloud


@pytest.mark.fault("server refuses frames")
def test_frames_that_the_server_refuses_are_answered_by_the_device(
    tiny_bundle: Path, settle: Settle
) -> None:
    with (
        lying(tiny_bundle, Overloaded()) as address,
        opened(tiny_bundle, address, patience_ms=PATIENCE_S * 1e3) as traffic,
    ):
        traffic.send(6 * WINDOW)
        tally = settle(traffic)
        assert traffic.agent.stats().connects == 1
    assert tally.cloud == tally.device == 3 * WINDOW


@pytest.mark.fault("corrupt answer")
def test_answers_that_cannot_be_read_are_replaced_by_the_device(
    tiny_bundle: Path, settle: Settle
) -> None:
    lie = Garbled()
    with (
        lying(tiny_bundle, lie) as address,
        opened(tiny_bundle, address, patience_ms=1000.0) as traffic,
    ):
        traffic.send(4 * len(lie.ways))
        tally = settle(traffic)
        assert traffic.agent.stats().connects == 1
    assert (tally.cloud, tally.errors) == (4, 0)


@pytest.mark.fault("deadline shorter than anything")
def test_a_deadline_that_nothing_can_meet_costs_no_frame(tiny_bundle: Path, settle: Settle) -> None:
    with CountedCloud(tiny_bundle) as cloud, opened(tiny_bundle, cloud.address) as traffic:
        traffic.flow_until_answered_by("cloud")
        cloud.note_level()
        traffic.send(5 * WINDOW, deadline_ms=0.001)
        traffic.send(WINDOW)
        settle(traffic, cloud)
