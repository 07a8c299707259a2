"""What comes out of a runtime is compared with the answers in the kit; garbage is not measured."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.edge.found import found
from tests.edge.kits import (
    ANSWER,
    ITEMS,
    add_twins,
    answers,
    build_kit,
    rehash,
    seal,
    write_answers,
)
from tests.trials import try_here

from isthmus import BundleError, DeviceProfile, ModelError, decode_profile, encode_profile
from isthmus.profiles import ANSWERS_NAME, Kit
from isthmus_cli.edge_profile import profile_table
from isthmus_edge.profiling import ProfilingConfig, alone, profile_kit
from isthmus_edge.profiling import runner as runner_module
from isthmus_edge.profiling.closeness import MOST_ERROR, error_of
from isthmus_edge.profiling.kit import open_kit
from isthmus_edge.runtimes import (
    AnyArray,
    CallOffLike,
    Graph,
    GraphFiles,
    Runtime,
    RuntimeName,
    Runtimes,
    found_runtimes,
)

QUICK = ProfilingConfig(rounds=3, kernel_runs=1)
Change = Callable[[AnyArray], AnyArray]


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    return add_twins(build_kit(tmp_path / "kit"))


@dataclass
class StrangeGraph:
    """Answers as `real` does, and then otherwise."""

    real: Graph
    change: Change

    @property
    def file(self) -> str:
        return self.real.file

    @property
    def memory_bytes(self) -> int:
        return self.real.memory_bytes

    def run(
        self,
        feeds: Mapping[str, AnyArray],
        wanted: Sequence[str],
        call_off: CallOffLike | None = None,
    ) -> tuple[AnyArray, ...]:
        return tuple(map(self.change, self.real.run(feeds, wanted, call_off)))


@dataclass
class StrangeRuntime:
    """A tflite-runtime that is LiteRT, and something else beside."""

    real: Runtime
    change: Change
    name: RuntimeName = "tflite-runtime"
    version: str = "2.14"

    def refusal(self, files: GraphFiles) -> str | None:
        return self.real.refusal(files)

    def load(self, files: GraphFiles, threads: int) -> Graph:
        return StrangeGraph(self.real.load(files, threads), self.change)

    def describe(self) -> str:
        return "strange"


def profiled(kit: Path, change: Change, monkeypatch: pytest.MonkeyPatch) -> DeviceProfile:
    """On ONNX Runtime and the strange one; trials run in this very process."""
    real = {each.name: each.runtime for each in found_runtimes()}
    assert real["onnxruntime"] is not None
    assert real["litert"] is not None
    both = found(real["onnxruntime"]), found(StrangeRuntime(real["litert"], change))

    for module in (alone, runner_module):
        monkeypatch.setattr(module, "Runtimes", lambda name: Runtimes(name, both))
    monkeypatch.setattr(runner_module, "try_alone", try_here)
    return profile_kit(kit, QUICK)


def noise(array: AnyArray) -> AnyArray:
    return np.random.default_rng(2).standard_normal(array.shape).astype(array.dtype)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (np.zeros_like, "its answers are off by 100%"),
        (noise, "its answers are off by 1"),
        (lambda a: np.where(a > 0, a, np.nan).astype(a.dtype), "its answers are no numbers"),
        (lambda a: np.multiply(a, np.float32(np.inf)), "its answers are no numbers"),
        (lambda a: a[:, :3], r"an answer is float32 [1, 3, 12, 12], the kit's is float32 [8, 12,"),
        (lambda a: a.astype(np.float64), "an answer is float64 [1, 8, 12, 12], the kit's is"),
    ],
)
def test_a_runtime_that_answers_garbage_is_left_out_with_a_note(
    kit: Path, monkeypatch: pytest.MonkeyPatch, change: Change, note: str
) -> None:
    profile = profiled(kit, change, monkeypatch)
    assert [network.runtime for network in profile.networks] == ["onnxruntime"]
    assert [prefix.runtime for prefix in profile.prefixes] == ["onnxruntime"]
    (left_out,) = (each for each in profile.notes if "was not measured" in each)
    assert left_out.startswith(f"fp32 on tflite-runtime was not measured: {note}")


def test_what_rounds_otherwise_is_measured_and_the_profile_says_how_far_it_is(
    kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profiled(kit, lambda a: np.multiply(a, np.float32(1.25)), monkeypatch)
    errors = {network.runtime: network.error for network in profile.networks}
    assert errors == {
        "onnxruntime": pytest.approx(0, abs=1e-4),
        "tflite-runtime": pytest.approx(0.25, abs=1e-4),
    }
    assert decode_profile(encode_profile(profile), "edge.json") == profile
    head, *rows = list(profile_table(profile))[3:]
    assert head.split()[-2:] == ["off", "by"]
    assert [row.split()[-1] for row in rows if row.startswith("fp32 on")] == ["0.0%", "25.0%"]


def test_a_process_of_its_own_compares_too(kit: Path) -> None:
    """The kit has the answers of another network for the second one."""
    (kit / "int8.onnx").write_bytes((kit / "fp32.onnx").read_bytes())
    seal(kit, ("fp32", "int8"))
    write_answers(kit, answers(), -answers())
    profile = profile_kit(rehash(kit), QUICK)
    assert [network.name for network in profile.networks] == ["fp32"]
    assert "int8 on onnxruntime was not measured: its answers are off by 200%" in profile.notes


def answers_file(folder: Path) -> Path:
    return folder / ANSWERS_NAME


def _another_shape(folder: Path) -> None:
    write_answers(folder, answers()[..., :11])


def _another_type(folder: Path) -> None:
    write_answers(folder, answers().astype(np.float64))


def _too_few(folder: Path) -> None:
    write_answers(folder, answers()[:1])


def _of_no_network(folder: Path) -> None:
    write_answers(folder)


def _pickled(folder: Path) -> None:
    write_with(folder, lambda file: np.savez(file, answer_0_0=np.empty(answers().shape, object)))


def _packed(folder: Path) -> None:
    write_with(folder, lambda file: np.savez_compressed(file, answer_0_0=np.zeros_like(answers())))


def _announced_only(folder: Path) -> None:
    """The right header, and nothing behind it."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (ITEMS, *ANSWER.shape)}
    with (
        zipfile.ZipFile(answers_file(folder), "w") as archive,
        archive.open("answer_0_0.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)


def _much_announced(folder: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    with (
        zipfile.ZipFile(answers_file(folder), "w") as archive,
        archive.open("answer_0_0.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)


def _cut_off(folder: Path) -> None:
    content = answers_file(folder).read_bytes()
    answers_file(folder).write_bytes(content[: len(content) // 2])


def write_with(folder: Path, write: Callable[[Path], object]) -> None:
    write(answers_file(folder))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_another_shape, r"float32 \[2, 8, 12, 11\], announced was float32 \[2, 8, 12, 12\]"),
        (_another_type, r"float64 \[2, 8, 12, 12\], announced was float32"),
        (_too_few, r"float32 \[1, 8, 12, 12\], announced"),
        (_of_no_network, "answer_0_0"),
        (_pickled, "object"),
        (_packed, "answer 'answer' is packed"),
        (_announced_only, "has 0 bytes instead of 9216"),
        (_much_announced, "announced was"),
        (_cut_off, "not a zip file"),
    ],
)
def test_answers_that_are_not_what_the_kit_says_are_refused_before_the_work(
    kit: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(kit)
    with pytest.raises(BundleError, match=rf"{ANSWERS_NAME}: cannot be read .*{words}"):
        profile_kit(rehash(kit), QUICK)


def test_an_archive_that_begins_like_an_array_is_read_as_an_archive(kit: Path) -> None:
    """What numpy would take for an array of a size that nobody has looked at."""
    before = np.lib.format.magic(1, 0) + b"\x10\x00{'descr': '<f4'}"
    answers_file(kit).write_bytes(before + answers_file(kit).read_bytes())
    opened = open_kit(rehash(kit))
    (network,) = opened.kit.networks
    np.testing.assert_array_equal(opened.answers(network)[0], answers())


@pytest.mark.parametrize("header", ["-" * 4000 + "1", "(" * 4000, "{'descr': '<f4'", "\\", '"'])
def test_a_header_that_is_no_literal_is_refused(kit: Path, header: str) -> None:
    with (
        zipfile.ZipFile(answers_file(kit), "w") as archive,
        archive.open("answer_0_0.npy", "w") as file,
    ):
        file.write(np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode())
    opened = open_kit(rehash(kit))
    with pytest.raises(BundleError, match="cannot be read"):
        opened.answers(opened.kit.networks[0])


def test_a_kit_without_answers_is_refused(kit: Path) -> None:
    answers_file(kit).unlink()
    with pytest.raises(BundleError, match=f"{ANSWERS_NAME}: No such file"):
        open_kit(kit)


def _floats(*values: float) -> NDArray[np.float32]:
    return np.asarray([values], np.float32)


@pytest.mark.parametrize(
    ("ours", "wanted", "error"),
    [
        (_floats(3, 4), _floats(3, 4), 0),
        (_floats(3, 4.5), _floats(3, 4), 0.1),
        (_floats(0, 0), _floats(3, 4), 1),
        (_floats(-np.inf, np.nan, 2), _floats(-np.inf, np.nan, 1), 1),
        (_floats(np.inf, 1), _floats(-np.inf, 1), np.inf),
        (_floats(np.nan, 1), _floats(0, 1), np.inf),
        (_floats(0.25, 0), _floats(0, 0), 0.25),
    ],
)
def test_the_error_is_relative_to_the_size_of_the_answers(
    ours: NDArray[np.float32], wanted: NDArray[np.float32], error: float
) -> None:
    assert error_of([[ours]], [wanted]) == pytest.approx(error)


def test_the_worst_output_counts_over_all_items() -> None:
    wanted = [np.asarray([[1.0], [0.0]]), np.asarray([[2.0], [2.0]])]
    rows = [[np.asarray([1.0]), np.asarray([2.0])], [np.asarray([0.3]), np.asarray([2.0])]]
    assert error_of(rows, wanted) == pytest.approx(0.3)


def test_a_class_that_changes_is_no_garbage() -> None:
    """Its number is far away; one of four is another."""
    wanted = np.asarray([[3], [7], [12], [900]])
    rows = [[row] for row in (np.asarray([3]), np.asarray([7]), np.asarray([12]), np.asarray([0]))]
    assert error_of(rows, [wanted]) == 0.25 < MOST_ERROR
    assert error_of([[row - 1000] for row in wanted], [wanted]) > MOST_ERROR


def test_answers_of_another_size_are_an_error() -> None:
    with pytest.raises(ModelError, match="an answer is"):
        error_of([[_floats(1, 2)]], [_floats(1)])


def test_only_some_items_need_answers(kit: Path) -> None:
    """Those of a network with large ones are fewer."""
    write_answers(kit, answers()[:1])
    record = kit / "kit.json"
    known = msgspec.json.decode(record.read_bytes(), type=Kit)
    record.write_bytes(msgspec.json.encode(msgspec.structs.replace(known, answered=1)))
    profile = profile_kit(rehash(kit), QUICK)
    assert all(network.error < 1e-4 for network in profile.networks)
