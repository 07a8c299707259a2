"""Cuts are proposed where a forecast of them is best at some bandwidth."""

import pytest
from tests.partitioner.conftest import QUICK

from isthmus_partitioner import Network, PictureSets, PlanConfig, Profile, Quantised
from isthmus_partitioner.parts.boundary import boundaries
from isthmus_partitioner.planning.envelope import Offer
from isthmus_partitioner.planning.propose import WireForecast, edge_factor, propose, widest
from isthmus_partitioner.profiles.layers import CutRow


def profile_of(network: Network, head_ms: float, tail_ms: float) -> Profile:
    """Times that grow along the network as its work does."""
    cuts = tuple(
        CutRow(
            tensor=cut.tensor,
            shape=cut.shape,
            macs_share=cut.macs_share,
            tensor_bytes=1,
            head_ms=head_ms * cut.macs_share,
            tail_ms=tail_ms * (1 - cut.macs_share),
        )
        for cut in network.cuts
    )
    return Profile(
        machine="invented",
        model_sha256=network.sha256,
        input_bytes=network.input.nbytes,
        head_name="int8",
        fp32_ms=tail_ms,
        int8_ms=head_ms,
        head_ms=head_ms,
        nodes=(),
        cuts=cuts,
    )


def proposed(
    network: Network, head: Quantised, sets: PictureSets, config: PlanConfig, *rivals: Offer
) -> tuple[list[str], tuple[WireForecast, ...]]:
    """Tensors of the proposed cuts, and the forecasts."""
    profile = profile_of(network, head_ms=1000.0, tail_ms=10.0)
    found, forecasts = propose(network, head, profile, rivals, sets.fitted, config)
    return [boundary.cut.tensor for boundary in found], forecasts


SLOW = PlanConfig()
LOCAL = Offer("local", 1000.0, 0, 0)


def test_every_cut_is_foreseen_with_a_finer_and_a_coarser_step(
    network: Network, quantised: Quantised, sets: PictureSets
) -> None:
    found, forecasts = proposed(network, quantised, sets, SLOW, LOCAL)
    tensors = [boundary.cut.tensor for boundary in boundaries(quantised.head, network.cuts)]
    assert [forecast.tensor for forecast in forecasts] == tensors * 2
    finer, coarser = forecasts[: len(tensors)], forecasts[len(tensors) :]
    for one, other in zip(finer, coarser, strict=True):
        assert one.levels >= other.levels
        assert one.is_proposed == other.is_proposed == (one.tensor in found)
    assert finer[0].payload_bytes > 1.1 * coarser[0].payload_bytes


def test_where_an_early_cut_saves_nearly_everything_it_is_proposed(
    network: Network, quantised: Quantised, sets: PictureSets
) -> None:
    found, _ = proposed(network, quantised, sets, SLOW, LOCAL)
    assert "stem.relu" in found


def test_what_a_rival_does_better_everywhere_is_not_proposed(
    network: Network, quantised: Quantised, sets: PictureSets
) -> None:
    free = Offer("free", 0.0, 0, 0)
    assert proposed(network, quantised, sets, SLOW, LOCAL, free)[0] == []


def test_no_more_cuts_are_proposed_than_were_asked_for(
    network: Network, quantised: Quantised, sets: PictureSets
) -> None:
    for most in (0, 1):
        config = PlanConfig(max_cuts=most)
        assert len(proposed(network, quantised, sets, config, LOCAL)[0]) == most


def test_the_widest_ranges_of_bandwidth_come_first() -> None:
    local, early, late = (
        Offer("local", 100, 0, 0),
        Offer("early", 10, 20_000, 1),
        Offer("late", 60, 5_000, 1),
    )
    assert widest([[local, early, late]], {"early", "late"}, 1) == {"early"}
    assert widest([[local, early, late]], {"early", "late"}, 2) == {"early", "late"}
    assert widest([[local, late]], {"early", "late"}, 2) == {"late"}


def test_the_device_is_as_slow_as_its_factor_or_as_its_network_says() -> None:
    assert edge_factor(PlanConfig(edge_factor=3.0), head_ms=2.0) == 3.0
    assert edge_factor(QUICK, head_ms=2.0) == pytest.approx(250)
