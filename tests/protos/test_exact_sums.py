"""What ONNX Runtime is told so that its sums of 8-bit products are exact."""

import pytest

from isthmus.exact_sums import with_exact_sums

UINT8_WEIGHTS = {"session.x64quantprecision": "1"}
FLOATS_BETWEEN = UINT8_WEIGHTS | {"session.disable_quant_qdq": "1"}


class Options:
    """ONNX Runtime's, and what was opened with them: `refused` times nothing."""

    def __init__(self, refused: int) -> None:
        self.told: dict[str, str] = {}
        self.tries: list[dict[str, str]] = []
        self._refused = refused

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.told[key] = value

    def opened(self) -> str:
        self.tries.append(dict(self.told))
        if len(self.tries) <= self._refused:
            raise KeyError(len(self.tries))
        return "a session"


@pytest.mark.parametrize(
    ("refused", "tries"), [(0, [UINT8_WEIGHTS]), (1, [UINT8_WEIGHTS, FLOATS_BETWEEN])]
)
def test_a_graph_that_is_refused_with_uint8_weights_is_opened_with_floats(
    refused: int, tries: list[dict[str, str]]
) -> None:
    options = Options(refused)
    assert with_exact_sums(options, options.opened, (KeyError,)) == "a session"
    assert options.tries == tries


def test_what_is_refused_either_way_is_told_as_it_was_first() -> None:
    options = Options(2)
    with pytest.raises(KeyError, match="1"):
        with_exact_sums(options, options.opened, (KeyError,))


def test_other_failures_are_not_tried_again() -> None:
    options = Options(1)
    with pytest.raises(KeyError):
        with_exact_sums(options, options.opened, (ValueError,))
    assert options.tries == [UINT8_WEIGHTS]
