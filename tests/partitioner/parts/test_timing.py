"""Chains and tails are timed as wholes; how long they take is nobody's business here."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.workshop import Workshop, branched_sets

from isthmus_partitioner import Network
from isthmus_partitioner.parts.build import INPUT_TAIL
from isthmus_partitioner.parts.timing import ChainTimer, open_tails, time_tails

Read = Callable[[onnx.ModelProto], Network]


@pytest.mark.parametrize(
    ("build", "tensor"),
    [
        (branched.u_net, "deep"),
        (branched.with_gain, "stem.relu"),
        (branched.masked, "hidden"),
    ],
)
def test_every_prefix_of_every_chain_and_every_tail_is_timed(
    build: Callable[[], onnx.ModelProto], tensor: str, read: Read, tmp_path: Path
) -> None:
    network = read(build())
    sets = branched_sets(network)
    shop = Workshop(network, sets, tmp_path)
    tried = shop.tried([branched.cut_behind(network, tensor)], shop.heads("int8", "fp32"))
    feed = next(iter(sets.evaluation.feeds(network.inputs)))
    timer = ChainTimer(feed)
    for chain in tried.chains.values():
        timer.add(chain.chain, tmp_path)
    times = timer.prefixes_ms()
    assert times.keys() == tried.chains.keys()
    for name, prefixes in times.items():
        assert len(prefixes) == len(tried.chains[name].chain.segments) + 1
        assert prefixes[0] == 0
        assert list(prefixes) == sorted(prefixes)
    cuts = list(tried.cuts.values())
    tails = open_tails(cuts, tmp_path)
    timed = time_tails(network, cuts, tails, feed)
    assert timed.keys() == {INPUT_TAIL, *(cut.tail for cut in cuts)}
