import numpy as np
import pytest
from tests.sessions import calm_session

from isthmus.errors import ConfigError
from isthmus_models.bytes_model import file_features, file_kinds, file_typer, files


def test_most_files_are_what_their_names_say() -> None:
    """16 of 16 of these when this was written."""
    arrays, sources = files("evaluation", 16)
    session = calm_session(str(file_typer()))
    kinds = [file_kinds()[index] for index in session.run(None, arrays)[0].argmax(axis=1)]
    programs = [kind for kind, path in zip(kinds, sources, strict=True) if path.endswith(".py")]
    assert programs
    assert set(programs) == {"python"}
    assert len(set(kinds)) > 3


def test_features_are_the_beginning_and_the_end_without_white_space() -> None:
    features = file_features(b" \n" + b"a" * 3000 + b"z" * 1500 + b"\n\n")
    assert (features[:1024] == ord("a")).all()
    assert (features[1024:] == ord("z")).all()


def test_short_files_are_padded_in_the_middle() -> None:
    features = file_features(b"\tabc ")
    assert bytes(features[:3].astype(np.uint8)) == bytes(features[-3:].astype(np.uint8)) == b"abc"
    assert (features[4:-4] == 256).all()


def test_the_parts_share_no_file() -> None:
    calibration, evaluation = (set(files(part, 40)[1]) for part in ("calibration", "evaluation"))
    assert len(calibration) == len(evaluation) == 40
    assert calibration.isdisjoint(evaluation)


@pytest.mark.parametrize("count", [0, 10**6])
def test_a_count_beyond_the_files_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=r"files; there are 1 to \d+"):
        files("evaluation", count)
