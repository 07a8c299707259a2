"""A profile or a kit's record is read whole, or refused with the name of what makes no sense."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import (
    BundleError,
    ConfigError,
    DeviceProfile,
    KernelTime,
    NetworkTimes,
    PrefixTime,
    TensorSpec,
    decode_profile,
    encode_profile,
    open_profile,
)
from isthmus.profiles import (
    ANSWERS_NAME,
    INPUTS_NAME,
    KIT_VERSION,
    PROFILE_VERSION,
    Conditions,
    Kit,
    KitFile,
    KitNetwork,
    KitPrefix,
    decode_kit,
    encode_kit,
)

Change = Callable[[dict[str, Any]], object]

PROFILE = DeviceProfile(
    format_version=PROFILE_VERSION,
    model_name="net",
    model_sha256="5" * 64,
    kit_sha256="6" * 64,
    taken_at="2026-11-22T00:00:00+00:00",
    conditions=Conditions(
        device="board",
        processor="cpu",
        system="Linux",
        python="3.11",
        numpy="2",
        runtimes={"onnxruntime": "1"},
        isthmus="0",
        threads=1,
        clock="thread CPU time",
        governor="powersave",
        power="battery",
    ),
    rounds=24,
    memory="peak",
    temperature_c=(40.0, 61.5),
    networks=(
        NetworkTimes(
            name="fp32",
            runtime="onnxruntime",
            ms=2.0,
            low_ms=1.5,
            high_ms=2.5,
            memory_bytes=10,
            drift=-0.01,
            error=0.031,
            kernels=(KernelTime(name="conv", op="Conv", index=0, ms=1.0),),
        ),
    ),
    prefixes=(
        PrefixTime(
            network="fp32",
            runtime="onnxruntime",
            tensors=("relu:0",),
            ms=1.0,
            low_ms=1.0,
            high_ms=1.0,
        ),
    ),
    notes=("it drifted",),
)
KIT = Kit(
    format_version=KIT_VERSION,
    isthmus="0",
    model_name="net",
    model_sha256="5" * 64,
    inputs=(TensorSpec(name="x", data_type="float32", shape=(3, 4)),),
    outputs=(TensorSpec(name="y", data_type="float32", shape=(5,)),),
    items=2,
    answered=1,
    networks=(
        KitNetwork(
            name="fp32",
            file="fp32.onnx",
            inputs=("x",),
            prefixes=(KitPrefix(tensors=("relu:0",), file="fp32-0.onnx", inputs=("x",)),),
        ),
    ),
    files=tuple(
        KitFile(path=path, size_bytes=9, sha256="7" * 64)
        for path in ("fp32.onnx", "fp32-0.onnx", INPUTS_NAME, ANSWERS_NAME)
    ),
)


def _set(*path: str | int, to: object) -> Change:
    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = to

    return change


def edited(data: bytes, change: Change) -> bytes:
    document = json.loads(data)
    change(document)
    return json.dumps(document).encode()


def test_both_are_read_back_as_they_were_written() -> None:
    assert decode_profile(encode_profile(PROFILE), "edge.json") == PROFILE
    assert decode_kit(encode_kit(KIT), "kit.json") == KIT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("format_version", to=99), "format 99, this Isthmus reads 2"),
        (_set("colour", to="red"), "colour"),
        (_set("networks", to=[]), "no networks"),
        (_set("networks", 0, "ms", to=9.0), "network 'fp32' on onnxruntime has impossible times"),
        (
            _set("networks", 0, "low_ms", to=-1.0),
            "network 'fp32' on onnxruntime has impossible times",
        ),
        (_set("networks", 0, "memory_bytes", to=-1), "impossible memory"),
        (_set("networks", 0, "error", to=-0.1), "'fp32' on onnxruntime has an impossible error"),
        (lambda document: document["networks"][0].pop("error"), "error"),
        (_set("networks", 0, "kernels", 0, "ms", to=-1), "kernel 'conv' of network 'fp32'"),
        (_set("prefixes", 0, "network", to="int8"), r"prefix \['relu:0'\] of 'int8'"),
        (_set("prefixes", 0, "tensors", to=[]), "ends nowhere"),
        (_set("prefixes", 0, "high_ms", to=0.5), "impossible times"),
        (_set("prefixes", 0, "runtime", to="litert"), "on litert is of no network in it"),
        (_set("networks", 0, "runtime", to="tensorrt"), "tensorrt"),
        (_set("conditions", "runtimes", to={"tensorrt": "1"}), "tensorrt"),
        (_set("rounds", to=0), "0 rounds"),
        (_set("conditions", "threads", to=0), "0 threads"),
        (_set("conditions", "clock", to="sundial"), "clock"),
        (lambda document: document["networks"].append(document["networks"][0]), "twice"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(change: Change, words: str) -> None:
    with pytest.raises(BundleError, match=words) as refused:
        decode_profile(edited(encode_profile(PROFILE), change), "edge.json")
    assert str(refused.value).startswith("edge.json: ")
    assert "isthmus edge profile" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("format_version", to=99), "format 99"),
        (_set("items", to=0), "no items"),
        (_set("inputs", to=[]), "no inputs"),
        (_set("inputs", 0, "shape", to=[0]), "impossible shape"),
        (_set("inputs", 0, "shape", to=[2**40]), "impossible shape"),
        (_set("items", to=2**40), "impossible shape"),
        (_set("inputs", 0, "batch_axis", to=3), "impossible batch axis"),
        (_set("outputs", to=[]), "no outputs"),
        (_set("outputs", 0, "shape", to=[2**40]), "output 'y' has the impossible shape"),
        (
            lambda document: document["outputs"].extend(
                {"name": f"y{i}", "data_type": "float32", "shape": [2**26]} for i in range(5)
            ),
            "its outputs are larger than any kit's",
        ),
        (
            lambda document: document["outputs"].append(document["outputs"][0]),
            "'y' stands .* twice",
        ),
        (_set("answered", to=3), "answers for 3 of 2 items"),
        (_set("answered", to=0), "answers for 0 of 2 items"),
        (_set("files", 3, "path", to="replies.npz"), f"{ANSWERS_NAME} is used"),
        (_set("networks", 0, "file", to="other.onnx"), "other.onnx is used"),
        (_set("networks", 0, "prefixes", 0, "file", to="no.onnx"), "no.onnx is used"),
        (_set("files", 2, "path", to="items.npz"), f"{INPUTS_NAME} is used"),
        (_set("networks", 0, "inputs", to=["x", "y"]), r"fp32.onnx reads \['y'\], no inputs of"),
        (_set("networks", 0, "prefixes", 0, "inputs", to=["y"]), "fp32-0.onnx reads"),
        (
            _set("networks", 0, "tflite", to={"file": "a.tflite"}),
            "a.tflite is used, but not listed",
        ),
        (
            _set("networks", 0, "prefixes", 0, "tflite", to={"file": "../b.tflite"}),
            "b.tflite is used, but not listed",
        ),
        (_set("files", 0, "path", to="../fp32.onnx"), "leads out of the kit"),
        (_set("files", 0, "path", to="/fp32.onnx"), "leads out of the kit"),
        (_set("files", 0, "path", to="C:\\fp32.onnx"), "leads out of the kit"),
        (_set("files", 0, "path", to=""), "leads out of the kit"),
    ],
)
def test_a_kit_that_makes_no_sense_is_refused(change: Change, words: str) -> None:
    with pytest.raises(BundleError, match=words) as refused:
        decode_kit(edited(encode_kit(KIT), change), "kit.json")
    assert "isthmus profile --kit" in str(refused.value)


def test_a_network_may_be_measured_on_several_runtimes() -> None:
    """The fastest is meant where none is named."""
    (times,) = PROFILE.networks
    quick = msgspec.structs.replace(times, runtime="litert", ms=1.0, low_ms=1.0, kernels=())
    slow = msgspec.structs.replace(times, runtime="tflite-runtime", ms=2.25)
    both = msgspec.structs.replace(PROFILE, networks=(slow, times, quick))
    assert decode_profile(encode_profile(both), "edge.json") == both
    assert [found.ms for found in both.on_runtimes("fp32")] == [1.0, 2.0, 2.25]
    assert both.on("fp32") == quick
    assert both.on("fp32", "onnxruntime") == times
    assert both.on_runtimes("int8") == ()
    assert (both.has("fp32"), both.has("int8")) == (True, False)


def test_a_runtime_that_was_not_measured_is_named_with_those_that_were() -> None:
    with pytest.raises(ConfigError, match=r"no network 'fp32' on litert, it has: fp32 on onnxrun"):
        PROFILE.on("fp32", "litert")


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_record_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([encode_profile(PROFILE), encode_kit(KIT)])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    for decode in (decode_profile, decode_kit):
        try:
            decode(bytes(content), "file")
        except BundleError as error:
            assert str(error).startswith("file: ")  # noqa: PT017 (most are refused, some are not)


@pytest.mark.parametrize("content", [b'{"a":' * 10**5, b'{"format_version":1,"\x80":1}'])
def test_what_breaks_decoders_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="file"):
        decode_profile(content, "file")


@given(st.binary(max_size=64))
def test_no_bytes_at_all_are_taken_for_a_profile(content: bytes) -> None:
    with pytest.raises(BundleError, match="file"):
        decode_profile(content, "file")


def test_a_profile_in_a_file_is_opened_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "edge.json"
    with pytest.raises(BundleError, match=r"edge\.json: the profile cannot be read \(No such"):
        open_profile(path)
    path.write_bytes(encode_profile(PROFILE))
    assert open_profile(path) == PROFILE


def test_a_network_is_found_by_its_name_or_those_that_exist_are_named() -> None:
    assert PROFILE.on("fp32") == PROFILE.networks[0]
    assert (PROFILE.has("fp32"), PROFILE.has("int8")) == (True, False)
    with pytest.raises(ConfigError, match=r"board has no network 'int8', it has: fp32"):
        PROFILE.on("int8")
