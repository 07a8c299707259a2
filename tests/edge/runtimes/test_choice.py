"""Which runtime runs a chain: the plan's, the one asked for, or none, with the reason."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.edge.found import broken, found, missing
from tests.twinbundle import build_twin_bundle

from isthmus import Bundle, Chain, ConfigError, Manifest, ModelError, open_bundle
from isthmus_edge import Agent, AgentConfig
from isthmus_edge.runtimes import (
    RUNTIME_NAMES,
    FoundRuntime,
    Graph,
    GraphFiles,
    Runtime,
    RuntimeName,
    Runtimes,
    departures,
    found_runtimes,
    refusals,
    without_chains,
)


class Pretended:
    """A runtime that is never asked to load anything."""

    version = "0"

    def __init__(self, name: RuntimeName) -> None:
        self.name: RuntimeName = name

    def refusal(self, files: GraphFiles) -> str | None:
        if self.name == "onnxruntime" or files.tflite is not None:
            return None
        return f"{files.onnx} has no TFLite form"

    def load(self, files: GraphFiles, threads: int) -> Graph:
        raise NotImplementedError

    def describe(self) -> str:
        return self.name


def installed(*names: RuntimeName) -> Sequence[FoundRuntime]:
    return [found(Pretended(name)) if name in names else missing(name) for name in RUNTIME_NAMES]


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The chain `curved` cannot be TFLite throughout; LiteRT is the plan's choice for both."""
    folder = tmp_path_factory.mktemp("partly") / "bundle"
    return open_bundle(build_twin_bundle(folder, without={"device/curved-2.onnx"}), "device")


def able_with(bundle: Bundle, runtimes: Runtimes) -> Manifest:
    """The plan as a device has it."""
    return without_chains(bundle.manifest, refusals(bundle.manifest, bundle.path, runtimes))


def names_of(bundle: Bundle, chain: int, runtimes: Runtimes) -> list[str]:
    record = bundle.manifest.chains[chain]
    return [next(runtimes.of(bundle.path, record, each)).name for each in record.segments]


def test_the_plans_runtime_comes_first_where_it_is_installed(partly: Bundle) -> None:
    both = Runtimes("auto", installed("onnxruntime", "litert"))
    assert names_of(partly, 0, both) == ["litert"] * 3
    assert names_of(partly, 1, both) == ["litert", "litert", "onnxruntime", "litert"]


def test_another_one_takes_its_place_where_it_is_not(partly: Bundle) -> None:
    assert names_of(partly, 0, Runtimes("auto", installed("onnxruntime"))) == ["onnxruntime"] * 3
    old = Runtimes("auto", installed("tflite-runtime"))
    assert names_of(partly, 0, old) == ["tflite-runtime"] * 3


def judged(bundle: Bundle, runtime: RuntimeName, *unfit: RuntimeName) -> Manifest:
    """The plan chose `runtime` for every chain, and found others unfit."""

    def with_verdict(chain: Chain) -> Chain:
        return msgspec.structs.replace(chain, runtime=runtime, unfit=unfit)

    manifest = bundle.manifest
    return msgspec.structs.replace(manifest, chains=tuple(map(with_verdict, manifest.chains)))


def first_of(bundle: Bundle, manifest: Manifest, runtimes: Runtimes) -> list[str]:
    """Those that may run the first segment of the first chain, the preferred one first."""
    chain = manifest.chains[0]
    return [each.name for each in runtimes.of(bundle.path, chain, chain.segments[0])]


def test_a_runtime_that_the_plan_found_unfit_takes_nobodys_place(partly: Bundle) -> None:
    here = Runtimes("auto", installed("onnxruntime", "litert"))
    planned = judged(partly, "tflite-runtime", "litert")
    assert first_of(partly, planned, here) == ["onnxruntime"]
    assert first_of(partly, judged(partly, "tflite-runtime"), here) == ["onnxruntime", "litert"]


def test_a_device_with_unfit_runtimes_alone_is_refused_with_both_ways_out(partly: Bundle) -> None:
    here = Runtimes("auto", installed("litert"))
    reason = refused_by(partly, judged(partly, "onnxruntime", "litert"), here)
    assert "litert: the plan found that its answers are not those of its figures" in reason
    assert "pip install 'isthmus[edge]'" in reason
    assert "--runtime litert" in reason
    reason = refused_by(partly, judged(partly, "tflite-runtime", "litert"), here)
    assert "pip install 'isthmus[edge-tflite]'" in reason


def test_nobody_is_told_to_insist_on_what_cannot_run_it(partly: Bundle) -> None:
    planned = judged(partly, "onnxruntime", "litert")
    here, chain = Runtimes("auto", installed("litert")), planned.chains[1]
    with pytest.raises(ModelError, match=r"has no TFLite form, and the plan found") as caught:
        next(here.of(partly.path, chain, chain.segments[2]))
    assert "--runtime" not in str(caught.value)


def refused_by(bundle: Bundle, manifest: Manifest, runtimes: Runtimes) -> str:
    with pytest.raises(ModelError) as caught:
        refusals(manifest, bundle.path, runtimes)
    return str(caught.value)


def test_who_insists_on_an_unfit_runtime_has_it_and_is_warned(partly: Bundle) -> None:
    asked = Runtimes("litert", installed("onnxruntime", "litert"))
    planned = judged(partly, "onnxruntime", "litert")
    assert first_of(partly, planned, asked) == ["litert"]
    (text,) = departures(planned, partly.path, asked)
    assert text.startswith("chain 'whole': litert runs it, as was asked for, although the plan")


def test_a_plan_whose_runtime_is_not_here_is_told_who_takes_its_place(partly: Bundle) -> None:
    here = Runtimes("auto", installed("onnxruntime"))
    whole, curved = departures(partly.manifest, partly.path, here)
    assert whole == (
        "chain 'whole': the plan's litert is not here, onnxruntime runs it: the times of the plan "
        "are not those of this device (litert is not installed; pip install 'isthmus[edge-litert]')"
    )
    assert curved.startswith("chain 'curved': the plan's litert is not here")


def test_nothing_is_told_where_all_runs_as_planned_or_as_asked_for(partly: Bundle) -> None:
    both = installed("onnxruntime", "litert")
    for choice in ("auto", "onnxruntime"):
        assert list(departures(partly.manifest, partly.path, Runtimes(choice, both))) == []


def test_of_chains_that_run_nothing_nothing_is_told(partly: Bundle) -> None:
    """`curved` cannot be tflite-runtime throughout."""
    old = Runtimes("auto", installed("tflite-runtime"))
    (text,) = departures(able_with(partly, old), partly.path, old)
    assert text.startswith("chain 'whole': the plan's litert is not here, tflite-runtime runs it")


def test_an_explicit_choice_is_honoured(partly: Bundle) -> None:
    asked = Runtimes("onnxruntime", installed("onnxruntime", "litert"))
    assert names_of(partly, 0, asked) == ["onnxruntime"] * 3


def test_a_choice_that_is_not_installed_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"'litert': litert is not installed; .*edge-litert"):
        Runtimes("litert", installed("onnxruntime"))
    with pytest.raises(ConfigError, match=r"no runtime for heads: onnxruntime is not installed"):
        Runtimes("auto", installed())


def test_one_that_cannot_be_imported_leaves_its_place_to_the_next_with_the_reason(
    partly: Bundle,
) -> None:
    here = Runtimes("auto", (found(Pretended("onnxruntime")), broken("litert")))
    assert names_of(partly, 0, here) == ["onnxruntime"] * 3
    text, _ = departures(partly.manifest, partly.path, here)
    assert "the plan's litert is not here, onnxruntime runs it" in text
    assert "(litert is installed but cannot be imported (libfoo.so: no such file); pip" in text


def test_where_none_can_be_imported_the_bundle_is_refused_with_the_reason(partly: Bundle) -> None:
    for choice in ("auto", "litert"):
        here = Runtimes(choice, (missing("onnxruntime"), broken("litert")))
        reason = refused_by(partly, partly.manifest, here)
        assert "chain 'whole' cannot run here (litert is installed but cannot be imp" in reason
        with pytest.raises(ConfigError, match=r"litert is installed but cannot be imported"):
            assert here.usable


def test_each_is_loaded_when_it_is_asked_for_and_once(partly: Bundle) -> None:
    loaded: list[RuntimeName] = []

    def load(name: RuntimeName) -> Runtime:
        loaded.append(name)
        return Pretended(name)

    names: list[RuntimeName] = ["onnxruntime", "litert"]
    here = Runtimes("auto", [FoundRuntime(name, "0", partial(load, name)) for name in names])
    chain = partly.manifest.chains[1]
    assert here.names(partly.path, chain, chain.segments[0]) == ("litert", "onnxruntime")
    assert loaded == []
    assert names_of(partly, 0, here) == ["litert"] * 3
    assert loaded == ["litert"]
    assert list(departures(partly.manifest, partly.path, here)) == []
    assert names_of(partly, 1, here)[2] == "onnxruntime"
    assert loaded == ["litert", "onnxruntime"]


def test_candidates_that_no_runtime_can_run_leave_the_plan_with_the_reason(partly: Bundle) -> None:
    able = able_with(partly, Runtimes("auto", installed("litert")))
    gone = {c.id: c.reason for c in able.candidates if not c.kept}
    assert set(gone) == {"curves"}
    assert "curved-2.onnx has no TFLite form" in gone["curves"]
    assert "pip install 'isthmus[edge]'" in gone["curves"]


def test_an_explicit_choice_says_how_to_take_it_back(partly: Bundle) -> None:
    able = able_with(partly, Runtimes("litert", installed("litert")))
    assert "--runtime auto" in able.candidate("curves").reason


def test_a_bundle_whose_own_answers_cannot_run_here_is_refused(tmp_path: Path) -> None:
    path = build_twin_bundle(tmp_path / "bundle", without={"device/segment-2.onnx"})
    bundle = open_bundle(path, "device")
    with pytest.raises(ModelError, match=r"chain 'whole' cannot run here .*segment-2\.onnx"):
        able_with(bundle, Runtimes("litert", installed("litert")))


def test_an_agent_offers_its_policy_only_what_it_can_run(partly: Bundle) -> None:
    with Agent.open(AgentConfig(bundle=partly.path, runtime="litert")) as agent:
        offered = {c.id: c.kept for c in agent.manifest.candidates}
    assert offered == {"local": True, "input": True, "floats": True, "pair": True, "curves": False}


def test_what_is_found_here_is_named_or_has_a_problem_with_a_way_out() -> None:
    here = {each.name: each for each in found_runtimes()}
    assert list(here) == list(RUNTIME_NAMES)
    for each in here.values():
        assert (each.runtime is None) == (each.problem is not None)
        if each.problem is not None:
            assert "pip install" in each.problem
