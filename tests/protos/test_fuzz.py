"""The fuzz finds nothing in the decoder, and finds what is wrong with broken ones."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.protos import broken_decoders as broken

from isthmus import decode_manifest, encode_manifest
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.fuzzing import Batch, Decoder, Fuzz
from isthmus_bench.fuzz.plan import wire_plan
from isthmus_bench.fuzz.workers import Run, batches

FUZZ = Path(__file__).parents[2] / "scripts" / "fuzz"
OUTCOMES = {"decoded", "refused", "key frame needed", "unparsable", "unknown candidate"}


def test_twenty_thousand_mutated_frames_do_no_harm(tmp_path: Path) -> None:
    """And they are no straw men: a fair share is decoded, and every way to be refused is met."""
    result = tmp_path / "fuzz.json"
    ran = subprocess.run(
        [FUZZ, "--frames", "20000", "--json", result, "--failures", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "fuzz_frames 20000\nfuzz_failures 0\n" in ran.stdout
    found = json.loads(result.read_bytes())
    assert (found["fuzz_frames"], found["fuzz_failures"]) == (20_000, 0)
    assert set(found["outcomes"]) == OUTCOMES
    assert found["outcomes"]["decoded"] > 2_000
    assert found["outcomes"]["refused"] > 5_000


def test_a_run_without_frames_is_refused() -> None:
    ran = subprocess.run([FUZZ, "--frames", "0"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "--frames and --processes are at least 1" in ran.stderr


def test_the_plan_of_the_fuzz_is_one_that_a_device_could_hold() -> None:
    assert decode_manifest(encode_manifest(wire_plan()), "here") == wire_plan()


def test_a_frame_is_known_by_seed_and_index() -> None:
    one, again, other = Fuzz(0), Fuzz(0), Fuzz(1)
    messages = [one.frame(index)[0] for index in range(50)]
    assert messages == [again.frame(index)[0] for index in reversed(range(50))][::-1]
    assert messages != [other.frame(index)[0] for index in range(50)]


@pytest.mark.parametrize(
    ("decoder", "complaint"),
    [
        (broken.talkative, "ValueError: not one of ours"),
        (broken.careless, "is float64"),
        (broken.flat, "WrongResultError: 'early' is"),
        (broken.forgetful, "is not kept as the frame's"),
        (broken.starved, "MemoryError: payload is not a whole zstd frame: Allocation error"),
    ],
)
def test_a_broken_decoder_is_found(decoder: Decoder, complaint: str) -> None:
    found = Fuzz(0, decoder).batch(range(300), lambda _: None)
    assert found.outcomes.total() == 300
    assert found.outcomes["failed"] == len(found.failures) > 0
    assert any(complaint in failure.what for failure in found.failures)


def test_a_decoder_that_a_frame_has_confused_is_found() -> None:
    found = Fuzz(0, broken.Stumbling()).batch(range(50), lambda _: None)
    assert found.outcomes["failed"] == 0
    assert [failure.index for failure in found.failures] == [49]
    assert "left a decoder that cannot decode" in found.failures[0].what


def rung_reaching_the_decoder(fuzz: Fuzz, index: int) -> int:
    """The rung of frame `index`, or -1 if it is refused before."""
    if fuzz.outcome(index) in ("unparsable", "unknown candidate"):
        return -1
    return pb.Frame.FromString(fuzz.frame(index)[0]).rung


def test_a_crash_a_hang_and_too_much_memory_are_failures_with_a_number() -> None:
    fuzz, first, frames = Fuzz(0), dict[int, int](), 0
    wanted = {broken.ENDS, broken.HANGS, broken.TAKES_MEMORY}
    while first.keys() != wanted:
        rung = rung_reaching_the_decoder(fuzz, frames)
        if rung in first:  # one of each will do: a worker takes a second to start
            fuzz, first, frames = Fuzz(fuzz.seed + 1), {}, 0
            continue
        if rung in wanted:
            first[rung] = frames
        frames += 1
    total = Batch()
    run = Run(seed=fuzz.seed, frames=frames, decoder=broken.fatal, hang_s=3.0)
    for batch in batches(run):
        total.add(batch)
    what = {failure.index: failure.what for failure in total.failures}
    assert what.keys() == set(first.values())
    assert what[first[broken.ENDS]] == "ended the process with 9"
    assert what[first[broken.HANGS]] == "no end after 3 s"
    assert "Unable to allocate 256. MiB" in what[first[broken.TAKES_MEMORY]]
    assert total.outcomes.total() == frames
