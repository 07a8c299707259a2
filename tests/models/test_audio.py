import numpy as np
import pytest
from tests.sessions import calm_session

from isthmus.errors import ConfigError
from isthmus_models.audio import (
    NOTES_INPUT,
    music,
    note_transcriber,
    speech,
    speech_detector,
    speech_detector_of_all_rates,
)
from isthmus_models.drawn import Part
from isthmus_models.lone_files import lone_file


def heard(path: str, part: Part, speakers: int) -> list[float]:
    """Probabilities of speech over two seconds of the first speaker, the state carried along."""
    session = calm_session(path)
    arrays, _ = speech(part, 64 * speakers)
    state = np.zeros((2, 1, 128), np.float32)
    found = []
    for row in range(0, 64 * speakers, speakers):
        feed = {"input": arrays["input"][row : row + 1], "sr": np.asarray(arrays["sr"][row])}
        output, state = session.run(None, {**feed, "state": state})
        found.append(float(output[0, 0]))
    return found


@pytest.mark.parametrize(("part", "speakers"), [("calibration", 3), ("evaluation", 2)])
def test_the_detector_takes_the_voices_for_speech_and_hears_the_pauses(
    part: Part, speakers: int
) -> None:
    found = heard(str(speech_detector()), part, speakers)
    assert max(found) > 0.9
    assert min(found) < 0.1
    assert 0.3 < np.mean(np.array(found) > 0.5) < 0.95


def test_both_files_of_the_detector_hear_the_same() -> None:
    one, other = (
        heard(str(path()), "evaluation", 2)
        for path in (speech_detector, speech_detector_of_all_rates)
    )
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_transcriber_hears_notes() -> None:
    arrays, sources = music("evaluation", 2)
    session = calm_session(str(note_transcriber()))
    (notes,) = session.run(["StatefulPartitionedCall:1"], arrays)
    assert sources == ("guitar", "flute")
    assert arrays[NOTES_INPUT].shape == (2, 43_844, 1)
    assert notes.max(axis=(1, 2)).min() > 0.5


def test_the_parts_share_no_source() -> None:
    for make in (speech, music):
        assert set(make("calibration", 6)[1]).isdisjoint(make("evaluation", 6)[1])


def test_no_items_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 items; needed: 1 or more"):
        speech("evaluation", 0)


def test_a_missing_package_is_named_with_how_to_install_it() -> None:
    message = r"model\.onnx of no_such_model is not here; pip install --no-deps 'no-such-model==1'"
    with pytest.raises(ConfigError, match=message):
        lone_file("no_such_model", "model.onnx", "no-such-model==1")
