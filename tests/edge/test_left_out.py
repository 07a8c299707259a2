"""What a device cannot run, or has no memory for, leaves its plan, and people are told."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.edge.fakes import FakeService, wide_item
from tests.tinybundle import tiny_pictures
from tests.twinbundle import build_twin_bundle

from isthmus import ConfigError, ModelError
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.runtimes import Graph, GraphFiles, onnx_runtime
from isthmus_edge.runtimes.tflite import TfliteRuntime

ITEM = wide_item(tiny_pictures(1)[0])
Load = Callable[[onnx_runtime.OnnxRuntime, GraphFiles, int], Graph]


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LiteRT cannot run the chain `curved`."""
    folder = tmp_path_factory.mktemp("partly") / "bundle"
    return build_twin_bundle(folder, without={"device/curved-2.onnx"})


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no memory for one segment of the chain `curved`."""
    load: Load = onnx_runtime.OnnxRuntime.load

    def refuse(self: onnx_runtime.OnnxRuntime, files: GraphFiles, threads: int) -> Graph:
        if files.onnx == "device/curved-2.onnx":
            raise ModelError(f"{files.onnx}: ONNX Runtime cannot load it: bad allocation")
        return load(self, files, threads)

    monkeypatch.setattr(onnx_runtime.OnnxRuntime, "load", refuse)


def texts(agent: Agent) -> list[str]:
    return [event.text for event in agent.stats().events]


def test_an_agent_that_can_run_everything_says_nothing(wide_bundle: Path) -> None:
    with Agent(wide_bundle) as agent:
        assert texts(agent) == []


@pytest.mark.usefixtures("starved")
def test_out_of_memory_at_load_is_told_and_the_agent_answers_with_the_rest(
    wide_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    with (
        caplog.at_level(logging.WARNING, "isthmus.edge"),
        Agent(wide_bundle, on_event=told.append) as agent,
    ):
        assert agent.infer(ITEM).place == "device"
        assert "curves" not in {candidate.id for candidate in agent.manifest.kept}
        (text,) = texts(agent)
    assert told == [text]
    assert text in caplog.messages
    assert text == (
        "left out of the plan here: curves: chain 'curved' is not loaded: device/curved-2.onnx: "
        "ONNX Runtime cannot load it: bad allocation"
    )


def test_what_does_not_fit_into_the_memory_that_is_allowed_is_told(wide_bundle: Path) -> None:
    with Agent(wide_bundle, max_memory_bytes=1) as agent:
        left_out, too_much = texts(agent)
    assert left_out.startswith("left out of the plan here: curves: chain 'curved' is not loaded: ")
    assert "of the 0.0 KB allowed (max_memory_bytes, --max-memory)" in left_out
    assert too_much.startswith("chain 'whole' answers without a cloud, so it is loaded: it takes ")


def test_a_bound_that_the_only_chain_exceeds_is_told(tiny_bundle: Path) -> None:
    with Agent(tiny_bundle, max_memory_bytes=1) as agent:
        (text,) = texts(agent)
    assert text.endswith("of the 0.0 KB allowed (max_memory_bytes, --max-memory)")


def test_a_runtime_that_is_not_here_or_cannot_load_a_chain_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = build_twin_bundle(tmp_path / "bundle", runtime="tflite-runtime")
    with Agent(bundle) as agent:
        told = texts(agent)
    assert [text.partition(": the plan's tflite-runtime is not here, ")[0] for text in told] == [
        "chain 'whole'",
        "chain 'curved'",
    ]

    def refuse(self: TfliteRuntime, files: GraphFiles, threads: int) -> Graph:
        raise ModelError(f"{files.onnx}: too new")

    monkeypatch.setattr(TfliteRuntime, "load", refuse)
    with Agent(build_twin_bundle(tmp_path / "other")) as agent:
        assert texts(agent) == [
            "chain 'whole': litert cannot load 3 of its 3 segments, another runtime runs them: "
            "device/segment-0.onnx: too new",
            "chain 'curved': litert cannot load 3 of its 4 segments, another runtime runs them: "
            "device/curved-1.onnx: too new",
        ]


def test_what_happens_when_a_chain_is_loaded_later_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here `curved` has no place at first, and litert does not take it by then."""
    bundle = build_twin_bundle(tmp_path / "bundle")
    is_late = False
    load = TfliteRuntime.load

    def moody(self: TfliteRuntime, files: GraphFiles, threads: int) -> Graph:
        if "curved" in files.onnx:
            raise ModelError("too new" if is_late else "bad allocation")
        return load(self, files, threads)

    monkeypatch.setattr(TfliteRuntime, "load", moody)
    monkeypatch.setattr(onnx_runtime.OnnxRuntime, "load", moody_onnx(lambda: is_late))
    config = AgentConfig(bundle=bundle, cloud="127.0.0.1:1")
    with Agent.open(config, transport=FakeService()) as agent:
        is_late = True
        agent.infer(ITEM, candidate="curves")
        *_, text = texts(agent)
    assert text.startswith("chain 'curved': litert cannot load 3 of its 4 segments")


def moody_onnx(is_late: Callable[[], bool]) -> Load:
    load: Load = onnx_runtime.OnnxRuntime.load

    def moody(self: onnx_runtime.OnnxRuntime, files: GraphFiles, threads: int) -> Graph:
        if not is_late():
            raise ModelError(f"{files.onnx}: bad allocation")
        return load(self, files, threads)

    return moody


def test_what_the_runtime_cannot_run_is_told_with_the_way_out(partly: Path) -> None:
    with Agent(partly, runtime="litert") as agent:
        (text,) = texts(agent)
    assert text.startswith("left out of the plan here: curves: chain 'curved' cannot run here")
    assert "device/curved-2.onnx has no TFLite form" in text
    assert "--runtime auto" in text


def test_a_pinned_candidate_that_cannot_run_here_is_refused_with_the_reason(partly: Path) -> None:
    reason = r"'curves(@1)?' cannot be used: chain 'curved' cannot run here .*no TFLite form"
    for name in ("curves", "curves@1"):
        config = AgentConfig(bundle=partly, cloud="127.0.0.1:1", runtime="litert", candidate=name)
        with pytest.raises(ConfigError, match=reason):
            Agent.open(config, transport=FakeService())
    config = AgentConfig(bundle=partly, cloud="127.0.0.1:1", runtime="litert")
    with Agent.open(config, transport=FakeService()) as agent:
        with pytest.raises(ConfigError, match=reason):
            agent.submit(ITEM, candidate="curves")
        with pytest.raises(ConfigError, match="no candidate 'curve' in this bundle"):
            agent.submit(ITEM, candidate="curve")
        assert agent.stats().accepted == 0


@pytest.mark.usefixtures("starved")
def test_a_pinned_frame_for_which_there_is_no_memory_ends_with_the_reason(
    wide_bundle: Path,
) -> None:
    """There may be by then: it is tried again, and frames behind it go on."""
    config = AgentConfig(bundle=wide_bundle, cloud="127.0.0.1:1")
    with Agent.open(config, transport=FakeService()) as agent:
        with pytest.raises(ModelError, match=r"curved-2\.onnx: .*bad allocation"):
            agent.infer(ITEM, candidate="curves")
        agent.infer(ITEM, candidate="pair")
        stats = agent.stats()
    assert (stats.errors, stats.pending) == (1, 0)
