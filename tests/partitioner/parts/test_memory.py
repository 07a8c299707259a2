"""Heads are loaded in a process of their own, whose growth is what they take of the memory."""

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.partitioner import branched
from tests.partitioner.workshop import Workshop, branched_sets, made_up_costs

from isthmus import Chain, Segment, TensorSpec
from isthmus_partitioner import Goals, Network
from isthmus_partitioner.parts import memory
from isthmus_partitioner.parts.memory import chain_memory
from isthmus_partitioner.planning import trying
from isthmus_partitioner.planning.constraints import breaches_of

Read = Callable[[onnx.ModelProto], Network]

HEAVY, LIGHT = 1500, 10  # widths of layers; weights of 9 MB and of nothing
FEED = {"x": np.ones((1, LIGHT), np.float32)}


def layer(folder: Path, index: int, read: int, made: int) -> Segment:
    """A matrix product from [1,read] to [1,made], as a segment."""
    names = ("x", f"y{index}") if index == 0 else (f"y{index - 1}", f"y{index}")
    weights = numpy_helper.from_array(np.ones((read, made), np.float32), "weights")
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size))
        for name, size in zip(names, (read, made), strict=True)
    ]
    node = helper.make_node("MatMul", [names[0], "weights"], [names[1]])
    graph = helper.make_graph([node], "layer", infos[:1], infos[1:], [weights])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    (folder / f"{index}.onnx").write_bytes(model.SerializeToString())
    inputs, outputs = (
        TensorSpec(name=name, data_type="float32", shape=(size,))
        for name, size in zip(names, (read, made), strict=True)
    )
    return Segment(file=f"{index}.onnx", inputs=(inputs,), outputs=(outputs,))


def chain(folder: Path, *widths: int) -> Chain:
    """A chain of layers of these widths, the first of which is the input's."""
    pairs = enumerate(pairwise(widths))
    segments = tuple(layer(folder, index, *pair) for index, pair in pairs)
    return Chain(id="layers", precision="fp32", segments=segments)


def refuse(line: str) -> None:
    raise AssertionError(line)


def test_a_segment_takes_its_weights_at_least_and_a_head_all_of_its_segments(
    tmp_path: Path,
) -> None:
    made = chain(tmp_path, LIGHT, HEAVY, HEAVY, LIGHT)
    nothing, first, second, whole = chain_memory(made, tmp_path, FEED, refuse)
    assert nothing == 0
    assert 0 < first <= second <= whole
    weights = 4 * HEAVY * HEAVY
    assert second - first > weights * 0.9
    assert whole - second < weights / 2


def test_what_a_head_takes_is_not_its_share_of_the_files(tmp_path: Path) -> None:
    """The runtime takes its megabytes for the smallest graph, too."""
    _, first, whole = chain_memory(chain(tmp_path, LIGHT, LIGHT, LIGHT), tmp_path, FEED, refuse)
    assert first > whole / 2


def test_segments_may_skip_and_read_what_any_earlier_one_made(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "chain_memory", chain_memory)
    network = read(branched.u_net())
    shop = Workshop(network, branched_sets(network), tmp_path)
    cuts = [branched.cut_behind(network, name) for name in ("wide", "deep")]
    tried = shop.tried(cuts, shop.heads("fp32"))
    taken = tried.chains["fp32"].memory_bytes
    assert taken[0] == 0
    assert list(taken) == sorted(taken)
    figures = {c.cut: c.rungs[0].figures.memory_bytes for c in tried.candidates}
    assert figures == {name: taken[cut.depth] for name, cut in tried.cuts.items()}
    assert min(figures.values()) > 0
    assert tried.wholes["fp32"].figures.memory_bytes == taken[-1]
    most, least = max(figures.values()), min(figures.values())
    for allowed, fields in ((most, set()), (least - 1, {"max_edge_memory_bytes"})):
        goals = Goals(min_agreement=0.0, max_edge_memory_bytes=allowed)
        for candidate in tried.candidates:
            assert {breach.field for breach in breaches_of(candidate, 0.5, goals)} == fields


def test_heads_are_carried_over_to_the_device_by_the_ratio_of_whole_networks(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "chain_memory", lambda *_: (0, 100, 201))
    network = read(branched.u_net())
    shop = Workshop(network, branched_sets(network), tmp_path)
    costs = replace(
        made_up_costs(network), memory_bytes={"fp32": 500}, memory_here_bytes={"fp32": 1000}
    )
    cuts = [branched.cut_behind(network, "wide")]
    tried = shop.tried(cuts, shop.heads("fp32"), costs)
    assert tried.chains["fp32"].memory_bytes == (0, 50, 100)
    assert costs.memory_factor("int8") == 1


def test_what_a_process_cannot_load_is_not_measured_and_said(tmp_path: Path) -> None:
    made = chain(tmp_path, LIGHT, LIGHT, LIGHT)
    (tmp_path / "1.onnx").write_bytes(b"no network")
    told: list[str] = []
    nothing, first, whole = chain_memory(made, tmp_path, FEED, told.append)
    assert (nothing, whole) == (0, 0)
    assert first > 0
    (line,) = told
    assert line.startswith("what chain layers takes of the memory was not measured: ")
    assert "1.onnx" in line


def test_a_process_that_does_not_start_measures_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chain(tmp_path, LIGHT, LIGHT)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    told: list[str] = []
    assert chain_memory(made, tmp_path, FEED, told.append) == (0, 0)
    assert "nowhere" in told[0]


def test_an_end_without_a_word_names_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, -9, b"4096\n", b"")

    made = chain(tmp_path, LIGHT, LIGHT, LIGHT)
    monkeypatch.setattr(subprocess, "run", killed)
    told: list[str] = []
    assert chain_memory(made, tmp_path, FEED, told.append) == (0, 4096, 0)
    assert told[0].endswith("its process ended with -9")


def test_the_process_loads_no_model_tools() -> None:
    """They take seconds, and memory that the device has not."""
    program = f"""
import runpy, sys
runpy.run_path({memory.__file__!r}, run_name="loaded")
print(*sorted({{"onnx", "scipy", "isthmus_partitioner"}} & sys.modules.keys()))
"""
    command = [sys.executable, "-P", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_without_a_known_highest_the_last_counts(tmp_path: Path) -> None:
    made = chain(tmp_path, LIGHT, HEAVY, HEAVY)
    program = f"""
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("loaded", {memory.__file__!r})
sys.modules["loaded"] = loaded = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loaded)
loaded._CLEAR = pathlib.Path("no") / "such" / "switch"
loaded.main(sys.stdin.buffer)
"""
    command = [sys.executable, "-P", "-c", program]
    ran = subprocess.run(command, input=order(made, tmp_path), capture_output=True, check=True)
    first, whole = map(int, ran.stdout.split())
    assert whole - first > 4 * HEAVY * HEAVY * 0.9


def order(made: Chain, folder: Path) -> bytes:
    """What the process is told."""
    arrays = io.BytesIO()
    np.savez(arrays, *FEED.values())
    told = {"folder": str(folder), "segments": made.segments, "feed": tuple(FEED)}
    return msgspec.json.encode(told) + b"\n" + arrays.getvalue()
