"""What a caller may hand in, and the words for what he may not."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from isthmus import PictureError, TensorSpec, WireError
from isthmus_edge import Inputs
from isthmus_edge.inputs import checked_inputs

AUDIO = TensorSpec(name="audio", data_type="float32", shape=(4, 3), batch_axis=1)
RATE = TensorSpec(name="rate", data_type="int64", shape=(), batch_axis=None)
BOTH = (AUDIO, RATE)
PICTURE = TensorSpec(name="picture", data_type="uint8", shape=(8, 8, 3), batch_axis=0)
SOUND: NDArray[np.float32] = np.arange(12, dtype=np.float32).reshape(4, 3)
HERTZ = np.array(16_000, np.int64)


@pytest.mark.parametrize("sound", [SOUND, SOUND[:, None, :]])
def test_every_input_goes_into_the_graph_as_a_batch_of_one(sound: NDArray[np.float32]) -> None:
    got = checked_inputs({"rate": HERTZ, "audio": sound}, BOTH)
    assert list(got) == ["audio", "rate"]
    np.testing.assert_array_equal(got["audio"], SOUND.reshape(4, 1, 3))
    assert got["rate"].shape == ()
    assert got["rate"] == HERTZ


def test_an_array_is_enough_where_there_is_one_input() -> None:
    (alone,) = checked_inputs(SOUND, (AUDIO,)).values()
    (named,) = checked_inputs({"audio": SOUND}, (AUDIO,)).values()
    np.testing.assert_array_equal(alone, named)


def test_an_array_with_gaps_between_its_rows_arrives_without_them() -> None:
    got = checked_inputs(np.asfortranarray(SOUND), (AUDIO,))["audio"]
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got[:, 0], SOUND)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (SOUND, "takes the inputs audio, rate: give an array for each, by name"),
        ({"audio": SOUND}, "takes the inputs audio, rate; rate missing"),
        ({"audio": SOUND, "rate": HERTZ, "noise": SOUND}, "audio, rate; noise unknown"),
        ({"rate": HERTZ, "sound": SOUND}, "audio missing and sound unknown"),
        ({"audio": SOUND[:3], "rate": HERTZ}, r"'audio' is float32 \[4, 3\] .*float32 \[3, 3\]"),
        ({"audio": SOUND[None], "rate": HERTZ}, r"'audio' .* got float32 \[1, 4, 3\]"),
        ({"audio": SOUND.astype(np.float64), "rate": HERTZ}, r"got float64 \[4, 3\]"),
        ({"audio": SOUND.astype(">f4"), "rate": HERTZ}, r"'audio' is float32"),
        ({"audio": SOUND, "rate": HERTZ[None]}, r"'rate' is int64 \[\] .* got int64 \[1\]"),
    ],
)
def test_what_does_not_fit_is_named(inputs: Inputs, words: str) -> None:
    with pytest.raises(WireError, match=words):
        checked_inputs(inputs, BOTH)


@pytest.mark.parametrize("sound", [SOUND, SOUND[:, None, :], np.asfortranarray(SOUND)])
def test_what_is_taken_is_no_longer_the_callers(sound: NDArray[np.float32]) -> None:
    """A camera writes its next frame into the same buffer while this one waits."""
    buffer = sound.copy()
    taken = checked_inputs({"audio": buffer, "rate": HERTZ}, BOTH)
    buffer[:] = 0
    np.testing.assert_array_equal(taken["audio"].reshape(4, 3), SOUND)


def test_a_path_of_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    for path, kind in ((tmp_path / "fifo.jpg", "FIFO"), (Path("/dev/zero"), "device")):
        with pytest.raises(PictureError, match=kind):
            checked_inputs(path, (PICTURE,))
