"""A truncated or changed file ends in a ModelError or in a network that runs; never otherwise."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.partitioner.tflite_source.tflites import Tflite, quantised_network, small_network

from isthmus import ModelError
from isthmus_partitioner.runtime import open_session, run_one
from isthmus_partitioner.tflite_source import import_tflite
from isthmus_partitioner.tflite_source.emitter import emit
from isthmus_partitioner.tflite_source.flatbuffer import read_source

NETWORKS = {"float": small_network, "quantised": quantised_network}
IMPORTED = 6  # beside LiteRT, of the mutations that can be drawn: each starts a process


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A few bytes, or a 32-bit word, are something else."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(8, len(changed) - 4))
        if random.random() < 0.5:
            changed[place] = int(random.integers(256))
        else:
            word = random.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**16, len(data)])
            changed[place : place + 4] = int(word).to_bytes(4, "little")
    return bytes(changed)


def drawn(path: Path) -> bool:
    """Whether the file can be drawn and run; everything but a ModelError is a failure."""
    try:
        model = emit(read_source(path))
        info = model.graph.input[0]
        shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
        kind = np.uint8 if info.type.tensor_type.elem_type == 2 else np.float32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # weights may be anything now
            run_one(
                open_session(model, threads=1), {info.name: np.zeros(shape, kind)},
                [model.graph.output[0].name],
            )  # fmt: skip
    except ModelError:
        return False
    return True


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_mutated_file_is_refused_or_drawn(kind: str, tmp_path: Path) -> None:
    data, random = NETWORKS[kind]().data(), np.random.default_rng(11)
    path = tmp_path / "model.tflite"
    outcomes = []
    for _ in range(150):
        path.write_bytes(mutated(data, random))
        outcomes.append(drawn(path))
    assert {True, False} == set(outcomes)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_mutated_file_that_can_be_drawn_is_refused_or_answers_as_litert(
    kind: str, tmp_path: Path
) -> None:
    data, random = NETWORKS[kind]().data(), np.random.default_rng(12)
    path = tmp_path / "model.tflite"
    errors: list[float | None] = []
    while len(errors) < IMPORTED // 2:
        path.write_bytes(mutated(data, random))
        if not drawn(path):
            continue
        try:
            errors.append(import_tflite(path).error)
        except ModelError:
            errors.append(None)
    assert all(error is None or error <= 0.5 for error in errors)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_truncated_file_is_refused(kind: str, tmp_path: Path) -> None:
    data = NETWORKS[kind]().data()
    path = tmp_path / "model.tflite"
    refused = 0
    for end in np.linspace(0, len(data) - 1, 80).astype(int):
        path.write_bytes(data[:end])
        refused += not drawn(path)
    assert refused == 80


def test_a_count_beyond_all_reason_takes_no_memory(tmp_path: Path) -> None:
    build = small_network()
    build.graph.tensors[0].shape = [1, 2**20, 2**20, 2**10]
    with pytest.raises(ModelError, match="more than 1 GiB"):
        read_source(build.save(tmp_path / "model.tflite"))


def test_weights_that_do_not_fill_their_tensor_are_refused(tmp_path: Path) -> None:
    build = small_network()
    weights = next(t for t in build.graph.tensors if list(t.shape) == [8, 3, 3, 3])
    weights.shape = [8, 3, 3, 4]
    with pytest.raises(ModelError, match=r"has 864 bytes, not 1,152; copy the file again"):
        read_source(build.save(tmp_path / "model.tflite"))


def test_a_size_that_the_file_states_wrongly_is_refused(tmp_path: Path) -> None:
    build = Tflite()
    relu = build.make("RELU", [build.conv(build.input(1, 8, 8, 3), 4)], (1, 8, 8, 5))
    path = build.save(tmp_path / "model.tflite", build.make("ABS", [relu], (1, 8, 8, 4)))
    with pytest.raises(ModelError, match=r"'t4' is \[1, 4, 8, 8\], and the file says"):
        emit(read_source(path))


def test_another_file_is_no_tflite_file(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelError, match=r"model\.tflite: not a TFLite file; name a \.tflite or"):
        read_source(path)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_source(tmp_path / "model.tflite")


def test_a_small_file_of_large_weights_is_refused(tmp_path: Path) -> None:
    """Every tensor says that one buffer is its own."""
    build = small_network()
    weights = next(t for t in build.graph.tensors if list(t.shape) == [8, 3, 3, 8])
    build.graph.tensors.extend([weights] * 300)
    with pytest.raises(ModelError, match=r"bytes that state [\d,]+ bytes of weights"):
        read_source(build.save(tmp_path / "model.tflite"))
