"""What a device measured becomes a time for every node, true to every whole that was timed."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.partitioner.networks import Builder, saved

from isthmus import ConfigError, DeviceProfile, KernelTime, NetworkTimes, PrefixTime
from isthmus.profiles import PROFILE_VERSION, Conditions
from isthmus_partitioner.graph.network import Network, load_model
from isthmus_partitioner.profiles.node_times import node_ms, require_same_model

# Kernels of `chain` under the runtime's names: two layers of 2 ms each by the profiler.
KERNELS = (
    KernelTime(name="a.relu_nchwc", op="Conv", index=0, ms=2.0),
    KernelTime(name="ReorderOutput", op="ReorderOutput", index=1, ms=0.5),
    KernelTime(name="b.relu", op="FusedConv", index=2, ms=1.5),
    KernelTime(name="logits", op="Gemm", index=3, ms=1.0),
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Two layers with their activations, then the classes."""
    build = Builder()
    first = build.op("Relu", [build.conv(build.picture(), "a", (3, 8))], "a.relu")
    build.op("Relu", [build.conv(first, "b", (8, 8))], "b.relu")
    build.classes("b.relu", 8)
    return load_model(saved(build.model(), tmp_path_factory.mktemp("chain") / "chain.onnx"))


def made_up(network: Network, ms: float = 10.0, **prefixes_ms: float) -> DeviceProfile:
    """A profile of a network of `ms`, with prefixes that end in a_relu or b_relu."""
    there = Conditions(
        device="board",
        processor="cpu",
        system="Linux",
        python="3.11",
        numpy="2",
        runtimes={"onnxruntime": "1"},
        isthmus="0",
        threads=1,
        clock="thread CPU time",
        governor=None,
        power="unknown",
    )
    times = NetworkTimes(
        name="fp32",
        runtime="onnxruntime",
        ms=ms,
        low_ms=ms,
        high_ms=ms,
        memory_bytes=1,
        drift=0.0,
        error=0.0,
        kernels=KERNELS,
    )
    prefixes = [
        PrefixTime(
            network="fp32",
            runtime="onnxruntime",
            tensors=(name.replace("_", "."),),
            ms=prefix_ms,
            low_ms=prefix_ms,
            high_ms=prefix_ms,
        )
        for name, prefix_ms in prefixes_ms.items()
    ]
    return DeviceProfile(
        format_version=PROFILE_VERSION,
        model_name="chain",
        model_sha256=network.sha256,
        kit_sha256="0",
        taken_at="2026-11-22T00:00:00+00:00",
        conditions=there,
        rounds=3,
        memory="peak",
        temperature_c=None,
        networks=(times,),
        prefixes=tuple(prefixes),
        notes=(),
    )


def by_name(network: Network, profile: DeviceProfile) -> dict[str, float]:
    times = node_ms(profile, "fp32", network.model.graph)
    assert len(times) == len(network.model.graph.node)
    named = zip(network.model.graph.node, times, strict=True)
    return {node.name: float(ms) for node, ms in named if ms}


def test_kernels_are_charged_to_their_layers_and_scaled_to_the_whole(chain: Network) -> None:
    """The runtime's own reorder belongs to the layer behind it."""
    assert by_name(chain, made_up(chain)) == pytest.approx({"a": 4.0, "b": 4.0, "logits": 2.0})


def test_times_add_up_to_every_prefix_that_was_timed(chain: Network) -> None:
    times = by_name(chain, made_up(chain, a_relu=7.0, b_relu=9.0))
    assert times == pytest.approx({"a": 7.0, "b": 2.0, "logits": 1.0})


def test_one_prefix_alone_scales_what_lies_before_and_behind_it(chain: Network) -> None:
    times = by_name(chain, made_up(chain, a_relu=1.0))
    assert times == pytest.approx({"a": 1.0, "b": 6.0, "logits": 3.0})


def test_a_prefix_that_took_longer_than_a_longer_one_makes_no_negative_time(
    chain: Network,
) -> None:
    times = node_ms(made_up(chain, a_relu=9.0, b_relu=8.0), "fp32", chain.model.graph)
    assert times.min() >= 0
    assert times.sum() == pytest.approx(10.0)


def test_a_prefix_that_took_longer_than_the_whole_leaves_the_whole_as_it_is(
    chain: Network,
) -> None:
    times = node_ms(made_up(chain, b_relu=11.0), "fp32", chain.model.graph)
    assert times.min() >= 0
    assert times.sum() == pytest.approx(10.0)


def test_prefixes_of_other_networks_do_not_count(chain: Network) -> None:
    profile = made_up(chain, a_relu=7.0)
    (prefix,) = profile.prefixes
    other = msgspec.structs.replace(
        profile, prefixes=(msgspec.structs.replace(prefix, network="head"),)
    )
    assert by_name(chain, other) == by_name(chain, made_up(chain))


def test_a_network_too_quick_for_the_profiler_still_takes_its_time(chain: Network) -> None:
    profile = made_up(chain)
    quick = msgspec.structs.replace(profile.networks[0], kernels=())
    times = node_ms(msgspec.structs.replace(profile, networks=(quick,)), "fp32", chain.model.graph)
    assert np.ptp(times) == 0
    assert times.sum() == pytest.approx(10.0)


def elsewhere(profile: DeviceProfile, ms: float) -> DeviceProfile:
    """The same on LiteRT, which tells nothing of its kernels."""
    networks = [
        msgspec.structs.replace(network, runtime="litert", ms=ms, low_ms=ms, high_ms=ms, kernels=())
        for network in profile.networks
    ]
    prefixes = [msgspec.structs.replace(each, runtime="litert") for each in profile.prefixes]
    return msgspec.structs.replace(profile, networks=tuple(networks), prefixes=tuple(prefixes))


def test_a_runtime_without_kernels_takes_the_shares_of_one_that_has_them(chain: Network) -> None:
    here, there = made_up(chain, 10.0), elsewhere(made_up(chain), 5.0)
    graph = chain.model.graph
    shared = node_ms(there, "fp32", graph, "litert", here)
    assert shared == pytest.approx(node_ms(here, "fp32", graph) / 2)
    alone = node_ms(there, "fp32", graph, "litert")
    assert np.ptp(alone) == 0
    assert alone.sum() == pytest.approx(5.0)


def test_shares_of_others_add_up_to_the_prefixes_that_were_timed_there(chain: Network) -> None:
    there = elsewhere(made_up(chain, a_relu=1.0), 4.0)
    times = node_ms(there, "fp32", chain.model.graph, "litert", made_up(chain, a_relu=7.0))
    named = zip(chain.model.graph.node, times, strict=True)
    found = {node.name: float(ms) for node, ms in named if ms}
    assert found == pytest.approx({"a": 1.0, "b": 2.0, "logits": 1.0})


def test_prefixes_on_another_runtime_do_not_count(chain: Network) -> None:
    """Its own kernels are preferred to those of `shape`, too."""
    onnx_alone, both = made_up(chain), made_up(chain, a_relu=9.0)
    litert = elsewhere(both, 4.0)
    mixed = msgspec.structs.replace(
        both, networks=(*both.networks, *litert.networks), prefixes=litert.prefixes
    )
    graph = chain.model.graph
    same = node_ms(mixed, "fp32", graph, "onnxruntime", litert)
    assert np.array_equal(same, node_ms(onnx_alone, "fp32", graph))


def test_the_fastest_runtime_counts_unless_one_is_named(chain: Network) -> None:
    known = made_up(chain)
    both = msgspec.structs.replace(
        known, networks=(*known.networks, *elsewhere(known, 4.0).networks)
    )
    graph = chain.model.graph
    assert node_ms(both, "fp32", graph).sum() == pytest.approx(4.0)
    assert node_ms(both, "fp32", graph, "onnxruntime").sum() == pytest.approx(10.0)
    with pytest.raises(ConfigError, match=r"'fp32' on tflite-runtime, it has: fp32 on onnx"):
        node_ms(both, "fp32", graph, "tflite-runtime")


def test_a_network_that_was_not_measured_is_named_with_those_that_were(chain: Network) -> None:
    with pytest.raises(ConfigError, match=r"no network 'int8', it has: fp32"):
        node_ms(made_up(chain), "int8", chain.model.graph)


def test_profiles_of_the_model_are_accepted(chain: Network) -> None:
    require_same_model(made_up(chain), made_up(chain), chain)
    require_same_model(None, None, chain)


@pytest.mark.parametrize("side", ["edge", "cloud"])
def test_a_profile_of_another_model_is_refused_with_both_fingerprints(
    chain: Network, side: str
) -> None:
    known = made_up(chain)
    strange = msgspec.structs.replace(known, model_name="cats", model_sha256="9" * 64)
    edge, cloud = (strange, known) if side == "edge" else (known, strange)
    with pytest.raises(ConfigError) as refused:
        require_same_model(edge, cloud, replace(chain, path=Path("chain.onnx")))
    message = str(refused.value)
    words = (f"the {side} profile", "'cats'", "9" * 64, chain.sha256, "isthmus profile --kit")
    assert [word for word in words if word not in message] == []
