"""The runtime of a device's heads: the fastest that was measured there and answers well."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from tests.partitioner.networks import Builder, residual, saved
from tests.partitioner.profiles.test_node_times import made_up

from isthmus import ConfigError, DeviceProfile, RuntimeName
from isthmus_partitioner import Network, SampleSets, load_model
from isthmus_partitioner.agreement.metrics import Metric, metric_for
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles import runtime_choice, twins
from isthmus_partitioner.profiles.runtime_choice import (
    TFLITE,
    Choice,
    Rival,
    RuntimeNote,
    choose_runtimes,
)
from isthmus_partitioner.tflite import lower

Times = Mapping[RuntimeName, float]


def device(network: Network, error: float = 0.0, **times: Times) -> DeviceProfile:
    """Invented: each network on these runtimes, in ms. Only ONNX Runtime tells its kernels.

    Answers of tflite-runtime are off by `error`.
    """
    known = made_up(network)
    (first,) = known.networks
    networks = [
        msgspec.structs.replace(
            first,
            name=name,
            runtime=runtime,
            ms=ms,
            low_ms=ms,
            high_ms=ms,
            error=error if runtime == "tflite-runtime" else 0.0,
            kernels=first.kernels if runtime == "onnxruntime" else (),
        )
        for name, on in times.items()
        for runtime, ms in on.items()
    ]
    return msgspec.structs.replace(known, networks=tuple(networks))


@pytest.fixture
def rival(network: Network, sets: SampleSets, metric: Metric) -> Rival:
    return Rival(network, sets.held_back, metric, 0.95)


@pytest.fixture
def models(network: Network, quantised: Precision) -> dict[str, onnx.ModelProto]:
    assert quantised.int8 is not None
    return {"fp32": network.model, "int8": quantised.int8}


def choice(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival, **times: Times
) -> Choice:
    return choose_runtimes(device(network, 0.0, **times), models, rival)


def falls_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every twin, in LiteRT here."""
    monkeypatch.setattr(runtime_choice, "twin_agreement", lambda *_: 0.5)


def chosen(network: Network, model: onnx.ModelProto, rival: Rival, times: Times) -> RuntimeNote:
    return choice(network, {"head": model}, rival, head=times).notes["head"]


def test_the_fastest_runtime_is_chosen_and_the_reason_says_by_how_much(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    times: Times = {"onnxruntime": 8.4, "litert": 4.0, "tflite-runtime": 4.8}
    note = chosen(network, models["fp32"], rival, times)
    assert (note.network, note.runtime) == ("head", "litert")
    assert [time.runtime for time in note.times] == ["litert", "tflite-runtime", "onnxruntime"]
    assert note.reason == (
        "on the device LiteRT runs the int8 heads 1.2 times as fast as tflite-runtime and "
        "2.1 times as fast as ONNX Runtime (4.00 ms in all)"
    )


def test_an_int8_network_that_rounds_otherwise_is_as_good_as_on_onnx_runtime(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    """Each network is judged for itself, by real answers of LiteRT."""
    found = device(
        network,
        fp32={"onnxruntime": 5.0, "litert": 9.0},
        int8={"onnxruntime": 5.0, "litert": 2.0},
    )
    notes = choose_runtimes(found, models, rival, "on this machine").notes
    assert {name: note.runtime for name, note in notes.items()} == {
        "fp32": "onnxruntime",
        "int8": "litert",
    }
    assert notes["fp32"].reason == (
        "on this machine ONNX Runtime runs the fp32 heads 1.8 times as fast as LiteRT "
        "(5.00 ms in all)"
    )
    assert "the network in int8 throughout 2.5 times as fast" in notes["int8"].reason


def test_the_choice_of_tflite_runtime_says_what_is_known_of_its_answers(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    """LiteRT's answers were judged here; its own were only compared there."""
    times: Times = {"onnxruntime": 8.4, "tflite-runtime": 4.0}
    for error, within in ((0.0312, "3.2%"), (0.0, "0.1%")):
        found = device(network, error, fp32=times)
        note = choose_runtimes(found, {"fp32": models["fp32"]}, rival).notes["fp32"]
        assert note.runtime == "tflite-runtime"
        assert note.reason == (
            "on the device tflite-runtime runs the fp32 heads 2.1 times as fast as ONNX Runtime "
            "(4.00 ms in all); the agreement of its .tflite form is LiteRT's here, on the device "
            f"its answers were within {within} of ONNX Runtime's"
        )


def test_answers_that_were_further_off_than_rounding_explains_are_not_used(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    """LiteRT is the next fastest, and answers well."""
    times: Times = {"onnxruntime": 8.0, "litert": 5.0, "tflite-runtime": 4.0}
    note = choose_runtimes(device(network, 0.06, fp32=times), models, rival).notes["fp32"]
    assert (note.runtime, note.unfit) == ("litert", ("tflite-runtime",))
    assert note.reason.endswith(
        "(5.00 ms in all); tflite-runtime is 1.2 times as fast, but is not used: on the device its "
        "answers were 6.0% off ONNX Runtime's, rounding explains 5.0%"
    )


def test_rounding_explains_as_much_as_int8_itself_has_moved(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    damaged = onnx.ModelProto()
    damaged.CopyFrom(models["fp32"])
    for tensor in damaged.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.1), tensor.name))
    most = rival.most_error(damaged)
    assert rival.most_error(models["fp32"]) == twins.MOST_RELATIVE < most
    lenient = Rival(network, rival.items, rival.metric, 0.0)
    times: Times = {"onnxruntime": 8.0, "tflite-runtime": 4.0}
    for error, runtime in ((most * 0.99, "tflite-runtime"), (most * 1.01, "onnxruntime")):
        found = device(network, error, fp32=times)
        assert choose_runtimes(found, {"fp32": damaged}, lenient).notes["fp32"].runtime == runtime


def test_a_faster_runtime_that_damages_answers_is_not_used(
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its twin is a network with other weights."""
    stranger = residual(seed=1)
    monkeypatch.setattr(twins, "lower", lambda *_: lower(stranger))
    note = chosen(network, models["fp32"], rival, {"onnxruntime": 8.4, "litert": 4.0})
    assert (note.runtime, note.unfit) == ("onnxruntime", TFLITE)
    assert note.reason.startswith(
        "on the device ONNX Runtime runs the int8 heads (8.40 ms in all); LiteRT is 2.1 times as "
        "fast, but is not used: its agreement is "
    )
    assert note.reason.endswith("the floor 0.950")


def test_below_the_floor_it_is_enough_to_be_no_worse_than_the_original(
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    sets: SampleSets,
    metric: Metric,
) -> None:
    """A floor that nothing meets, not even the fp32 network itself."""
    beyond = Rival(network, sets.held_back, metric, 1.5)
    times: Times = {"onnxruntime": 8.0, "litert": 4.0}
    assert chosen(network, models["fp32"], beyond, times).runtime == "litert"


def test_nothing_is_compared_where_onnx_runtime_is_alone(
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> float:
        raise AssertionError

    monkeypatch.setattr(runtime_choice, "twin_agreement", never)
    alone = chosen(network, models["fp32"], rival, {"onnxruntime": 4.0})
    assert (alone.runtime, alone.unfit) == ("onnxruntime", ())
    assert alone.reason == (
        "on the device ONNX Runtime runs the int8 heads (4.00 ms in all); "
        "no other runtime was measured"
    )


def test_what_is_slower_is_judged_too_and_named_where_it_must_not_answer(
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another device may have nothing else."""
    times: Times = {"onnxruntime": 4.0, "litert": 4.1}
    note = chosen(network, models["fp32"], rival, times)
    assert (note.runtime, note.unfit) == ("onnxruntime", ())
    assert "runs the int8 heads as fast as LiteRT" in note.reason
    falls_short(monkeypatch)
    note = chosen(network, models["fp32"], rival, times)
    assert (note.runtime, note.unfit) == ("onnxruntime", TFLITE)
    assert note.reason == (
        "on the device ONNX Runtime runs the int8 heads as fast as LiteRT (4.00 ms in all); "
        "LiteRT must not answer: its agreement is 0.500, the floor 0.950"
    )


@pytest.mark.parametrize("measured", TFLITE)
def test_a_file_that_answers_badly_is_unfit_for_all_that_run_it(
    measured: RuntimeName,
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    falls_short(monkeypatch)
    note = chosen(network, models["fp32"], rival, {"onnxruntime": 4.0, measured: 2.0})
    assert (note.runtime, note.unfit) == ("onnxruntime", TFLITE)


def test_a_runtime_that_took_no_time_the_clock_could_tell_is_faster(
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    falls_short(monkeypatch)
    note = chosen(network, models["fp32"], rival, {"onnxruntime": 4.0, "litert": 0.0})
    assert "; LiteRT is faster, but is not used: " in note.reason
    nothing = chosen(network, models["fp32"], rival, {"onnxruntime": 0.0, "litert": 0.0})
    assert "; LiteRT is as fast, but is not used: " in nothing.reason


def test_a_device_without_onnx_runtime_runs_what_it_has(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    note = chosen(network, models["fp32"], rival, {"tflite-runtime": 6.0, "litert": 4.0})
    assert note.runtime == "litert"
    assert "1.5 times as fast as tflite-runtime" in note.reason


def test_a_device_that_runs_the_network_on_nothing_is_refused_with_the_way_out(
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    falls_short(monkeypatch)
    with pytest.raises(ConfigError) as raised:
        choice(network, models, rival, fp32={"litert": 4.0, "tflite-runtime": 5.0})
    assert str(raised.value) == (
        "no runtime that was measured on the device may answer for the fp32 heads "
        "(LiteRT: its agreement is 0.500, the floor 0.950; "
        "tflite-runtime: its agreement is 0.500, the floor 0.950); "
        "install ONNX Runtime there (pip install 'isthmus[edge]') and measure again; where "
        "agreement is what falls short, a lower --min-agreement will do, too"
    )


def test_a_device_does_without_int8_that_answers_badly_there(
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    rival: Rival,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its fp32 heads answer well."""
    monkeypatch.setattr(
        runtime_choice, "twin_agreement", lambda _, model, *__: float(model is models["fp32"])
    )
    found = choice(network, models, rival, fp32={"litert": 4.0}, int8={"litert": 2.0})
    assert {name: note.runtime for name, note in found.notes.items()} == {"fp32": "litert"}
    assert found.refused.keys() == {"int8"}
    assert "for the network in int8 throughout (LiteRT: its agreement" in found.refused["int8"]


def test_a_network_whose_chains_have_no_twin_goes_to_the_next_runtime(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    times: Times = {"tflite-runtime": 2.0, "litert": 4.0, "onnxruntime": 8.4}
    found = choice(network, models, rival, fp32=times, int8={"litert": 2.0})
    again = found.without_twin("fp32", "a segment is odd")
    note = again.notes["fp32"]
    assert (note.runtime, note.unfit) == ("onnxruntime", TFLITE)
    assert note.times == found.notes["fp32"].times
    assert note.reason == (
        "on the device ONNX Runtime runs the fp32 heads (8.40 ms in all); tflite-runtime is 4.2 "
        "times as fast and LiteRT is 2.1 times as fast, but is not used: a segment is odd"
    )
    assert again.notes["int8"] == found.notes["int8"]
    without = again.without_twin("int8", "another is odd")
    assert without.notes.keys() == {"fp32"}
    assert "LiteRT: another is odd" in without.refused["int8"]


def test_the_fp32_network_has_to_run_on_something(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    found = choice(network, models, rival, fp32={"litert": 4.0})
    with pytest.raises(ConfigError, match=r"LiteRT: odd.*isthmus\[edge\]"):
        found.without_twin("fp32", "odd")


def test_what_tflite_does_not_cover_stays_on_onnx_runtime_with_the_op(
    tmp_path: Path, sets: SampleSets
) -> None:
    build = Builder()
    build.op("Mish", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "odd")
    build.classes("odd", 8)
    odd = load_model(saved(build.model(opset=18), tmp_path / "odd.onnx"))
    rival = Rival(odd, sets.held_back, metric_for("classify", odd.outputs), 0.95)
    note = chosen(odd, odd.model, rival, {"litert": 1.0, "onnxruntime": 2.0})
    assert note.runtime == "onnxruntime"
    assert "is not used" in note.reason
    assert "Mish" in note.reason


def test_a_network_that_the_device_did_not_measure_has_no_note(
    network: Network, models: Mapping[str, onnx.ModelProto], rival: Rival
) -> None:
    found = choice(network, models, rival, fp32={"onnxruntime": 1.0})
    assert found.notes.keys() == {"fp32"}
    assert not found.refused
