"""Node costs are those of the device and the cloud that a plan is for."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tests.partitioner.conftest import QUICK
from tests.partitioner.profiles.test_node_times import made_up
from tests.partitioner.workshop import made_up_costs

from isthmus import ConfigError, DeviceProfile, RuntimeName
from isthmus_partitioner import Network, SampleSets
from isthmus_partitioner.planning.node_costs import ALL_INT8, NodeCosts
from isthmus_partitioner.profiles.costs import node_costs

HERE_ALONE = replace(QUICK, edge_network_ms=None)


def profile(network: Network, fp32_ms: float, head_ms: float | None = None) -> DeviceProfile:
    """Invented: the whole network in these times, equal shares for all nodes."""
    known = made_up(network)
    (times,) = known.networks
    wholes = {"fp32": fp32_ms} | ({} if head_ms is None else {"head": head_ms})
    networks = tuple(
        msgspec.structs.replace(times, name=name, ms=ms, low_ms=ms, high_ms=ms, kernels=())
        for name, ms in wholes.items()
    )
    return msgspec.structs.replace(known, networks=networks)


def test_without_profiles_the_device_is_this_machine(network: Network, sets: SampleSets) -> None:
    here = profile(network, 10.0, 4.0)
    costs = node_costs(network, here, None, None, HERE_ALONE, sets.fitted[:1])
    assert costs.here.keys() == costs.device.keys() == {"fp32", "int8"}
    for precision, whole in (("fp32", 10.0), ("int8", 4.0)):
        assert costs.here[precision].sum() == pytest.approx(whole)
        assert np.array_equal(costs.device[precision], costs.here[precision])


@pytest.mark.parametrize(
    ("changes", "head_ms", "factor"),
    [
        ({"edge_factor": 3.0}, 4.0, 3.0),
        ({"edge_network_ms": 100.0}, 4.0, 25.0),  # of what it would run: the head
        ({"edge_network_ms": 100.0}, None, 10.0),
    ],
)
def test_the_device_is_as_slow_as_its_factor_or_as_its_network_says(
    changes: dict[str, float],
    head_ms: float | None,
    factor: float,
    network: Network,
    sets: SampleSets,
) -> None:
    here, config = profile(network, 10.0, head_ms), replace(HERE_ALONE, **changes)  # type: ignore[arg-type]
    costs = node_costs(network, here, None, None, config, sets.fitted[:1])
    for precision in costs.here:
        assert costs.factor(precision) == pytest.approx(factor)


def test_a_profile_of_the_device_says_how_slow_it_is_in_each_precision(
    network: Network, sets: SampleSets
) -> None:
    here, edge = profile(network, 10.0, 4.0), profile(network, 50.0, 40.0)
    costs = node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1])
    assert costs.factor("fp32") == pytest.approx(5)
    assert costs.factor("int8") == pytest.approx(10)


def on_litert(network: Network, fp32_ms: float, head_ms: float) -> DeviceProfile:
    known = profile(network, fp32_ms, head_ms)
    networks = [
        msgspec.structs.replace(times, runtime="litert", memory_bytes=5) for times in known.networks
    ]
    return msgspec.structs.replace(known, networks=tuple(networks))


def both_runtimes(one: DeviceProfile, other: DeviceProfile) -> DeviceProfile:
    return msgspec.structs.replace(one, networks=one.networks + other.networks)


LITERT: dict[str, RuntimeName] = {"fp32": "litert", "head": "litert"}


def test_heads_cost_what_their_runtime_takes_and_the_rest_keeps_the_pace_of_the_device(
    network: Network, sets: SampleSets
) -> None:
    """Encoding is numpy: a faster runtime of heads makes it no faster."""
    here = profile(network, 10.0, 4.0)
    edge = both_runtimes(profile(network, 50.0, 40.0), on_litert(network, 25.0, 10.0))
    costs = node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1], LITERT)
    assert costs.device["fp32"].sum() == pytest.approx(25)
    assert (costs.factor("fp32"), costs.factor("int8")) == pytest.approx((2.5, 2.5))
    assert (costs.pace("fp32"), costs.pace("int8")) == pytest.approx((5, 10))
    assert costs.memory_factor("int8") == 5.0


def test_the_pace_is_that_of_the_chosen_runtime_where_both_devices_have_it(
    network: Network, sets: SampleSets
) -> None:
    here = both_runtimes(profile(network, 10.0, 4.0), on_litert(network, 8.0, 2.0))
    edge = both_runtimes(profile(network, 50.0, 40.0), on_litert(network, 24.0, 8.0))
    costs = node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1], LITERT)
    assert (costs.pace("fp32"), costs.pace("int8")) == pytest.approx((3, 4))


def test_a_device_without_onnx_runtime_has_costs_and_a_pace(
    network: Network, sets: SampleSets
) -> None:
    edge = on_litert(network, 30.0, 8.0)
    for here, pace in (
        (profile(network, 10.0, 4.0), (3.0, 2.0)),
        (both_runtimes(profile(network, 10.0, 4.0), on_litert(network, 6.0, 2.0)), (5.0, 4.0)),
    ):
        costs = node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1], LITERT)
        assert costs.device["int8"].sum() == pytest.approx(8)
        assert (costs.pace("fp32"), costs.pace("int8")) == pytest.approx(pace)


def test_a_machine_that_stands_for_the_device_has_the_pace_of_its_factor(
    network: Network, sets: SampleSets
) -> None:
    here = both_runtimes(profile(network, 10.0, 4.0), on_litert(network, 5.0, 1.0))
    config = replace(HERE_ALONE, edge_factor=3.0)
    costs = node_costs(network, here, None, None, config, sets.fitted[:1], LITERT)
    assert costs.device["int8"].sum() == pytest.approx(3)
    assert costs.factor("int8") == pytest.approx(3 / 4)
    assert costs.pace("int8") == pytest.approx(3)
    whole = replace(HERE_ALONE, edge_network_ms=100.0)
    costs = node_costs(network, here, None, None, whole, sets.fitted[:1], LITERT)
    assert costs.device["int8"].sum() == pytest.approx(100)


def test_int8_may_be_slower_than_fp32_on_every_runtime_of_a_device(
    network: Network, sets: SampleSets
) -> None:
    here = profile(network, 10.0, 4.0)
    edge = both_runtimes(profile(network, 20.0, 30.0), on_litert(network, 18.0, 24.0))
    costs = node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1], LITERT)
    assert costs.device["int8"].sum() > costs.device["fp32"].sum()


def test_a_device_without_the_head_is_named_with_what_it_has_and_the_way_out(
    network: Network, sets: SampleSets
) -> None:
    here, edge = profile(network, 10.0, 4.0), profile(network, 50.0)
    way_out = (
        r"no network 'head' on onnxruntime, it has: fp32 on onnxruntime; install ONNX Runtime there"
    )
    with pytest.raises(ConfigError, match=way_out):
        node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1])


def with_int8(known: DeviceProfile, ms: float, runtime: RuntimeName) -> DeviceProfile:
    """The network in int8 throughout, too."""
    changes = {"name": "int8", "ms": ms, "high_ms": ms, "runtime": runtime}
    int8 = msgspec.structs.replace(known.networks[0], low_ms=ms, memory_bytes=7, **changes)
    return msgspec.structs.replace(known, networks=(*known.networks, int8))


def test_the_network_in_int8_throughout_has_costs_of_its_own_on_its_own_runtime(
    network: Network, sets: SampleSets
) -> None:
    here = with_int8(profile(network, 10.0, 4.0), 2.0, "onnxruntime")
    edge = with_int8(on_litert(network, 30.0, 8.0), 12.0, "onnxruntime")
    costs = node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1], LITERT)
    assert (costs.factor("int8"), costs.factor(ALL_INT8)) == pytest.approx((2, 6))
    assert (costs.pace("int8"), costs.pace(ALL_INT8)) == pytest.approx((2, 6))
    assert costs.memory_factor(ALL_INT8) == 1.0
    assert (costs.memory_bytes["int8"], costs.memory_bytes[ALL_INT8]) == (5, 7)


def test_a_device_on_which_nothing_runs_int8_throughout_has_no_costs_of_it(
    network: Network, sets: SampleSets
) -> None:
    """Not measured, or measured on what must not answer: then no runtime was chosen."""
    here = with_int8(profile(network, 10.0, 4.0), 2.0, "onnxruntime")
    edge = profile(network, 50.0, 40.0)
    for there in (edge, with_int8(edge, 5.0, "litert")):
        costs = node_costs(network, here, there, None, HERE_ALONE, sets.fitted[:1])
        assert costs.device.keys() == {"fp32", "int8"}


def test_heads_may_be_another_network_of_the_profile(network: Network, sets: SampleSets) -> None:
    here = with_int8(profile(network, 10.0, 4.0), 2.0, "onnxruntime")
    edge = with_int8(profile(network, 50.0), 5.0, "onnxruntime")
    names = {"fp32": "fp32", "int8": "int8"}
    costs = node_costs(network, here, edge, None, HERE_ALONE, sets.fitted[:1], {}, names)
    assert costs.device["int8"].sum() == pytest.approx(5)
    assert costs.factor("int8") == pytest.approx(2.5)


@pytest.mark.parametrize("changes", [{"edge_factor": 2.0}, {"edge_network_ms": 100.0}])
def test_a_profile_of_the_device_and_a_factor_contradict_each_other(
    changes: dict[str, float], network: Network, sets: SampleSets
) -> None:
    here, config = profile(network, 10.0), replace(HERE_ALONE, **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="leave --edge-factor"):
        node_costs(network, here, here, None, config, sets.fitted[:1])


def test_a_profile_of_the_cloud_is_used_for_tails(network: Network, sets: SampleSets) -> None:
    here, cloud = profile(network, 10.0), profile(network, 2.0)
    costs = node_costs(network, here, None, cloud, HERE_ALONE, sets.fitted[:1])
    assert costs.cloud.sum() == pytest.approx(2)
    assert costs.cloud_ms(frozenset()) == pytest.approx(2)


def test_without_one_the_whole_network_is_timed_here_with_all_cores(
    network: Network, sets: SampleSets
) -> None:
    """Shares of the nodes are those of the profile."""
    here = profile(network, 10.0)
    cloud = node_costs(network, here, None, None, HERE_ALONE, sets.fitted[:1]).cloud
    assert cloud.sum() > 0
    assert np.ptp(cloud) == pytest.approx(0, abs=1e-9)


def test_profiles_of_another_model_are_refused(network: Network, sets: SampleSets) -> None:
    here = profile(network, 10.0)
    strange = msgspec.structs.replace(here, model_sha256="0" * 64)
    for edge, cloud in ((strange, None), (None, strange)):
        with pytest.raises(ConfigError, match="profile"):
            node_costs(network, here, edge, cloud, HERE_ALONE, sets.fitted[:1])


def test_a_head_that_takes_no_time_here_takes_as_long_there(network: Network) -> None:
    known = made_up_costs(network, slower=3)
    none = np.zeros_like(known.cloud)
    costs = NodeCosts({"fp32": none}, {"fp32": none}, known.cloud)
    assert costs.factor("fp32", frozenset({0})) == 1.0
