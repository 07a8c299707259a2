"""Results that are kept: in the order in which they came, and settled in that of their frames."""

from hypothesis import given
from hypothesis import strategies as st
from tests.protos.session import messages as say

from isthmus.session.kept import KeptResults

Step = tuple[str, int]

STEPS = st.lists(
    st.tuples(st.sampled_from(["keep", "settle", "drop", "shrink"]), st.integers(1, 9))
)


@given(STEPS)
def test_they_are_those_of_a_plain_list(steps: list[Step]) -> None:
    counted: list[int] = []
    kept = KeptResults(4, 100, counted.append)
    plain: list[int] = []  # the oldest first
    for what, number in steps:
        if what == "keep" and number not in plain:
            kept.keep(number, say.result(number, 10))
            plain = [*plain, number][-4:]
        elif what == "settle":
            kept.settle(number)
            plain = [each for each in plain if each > number]
        elif what == "drop":
            gone = {number} & kept.sequences
            kept.drop(gone)
            plain = [each for each in plain if each not in gone]
        elif what == "shrink":
            kept.shrink(number * 10)
            while sum(say.result(each, 10).ByteSize() for each in plain) > number * 10:
                plain.pop(0)
        assert [message.result.sequence for message in kept.messages] == plain
        assert kept.sequences == set(plain)
        assert (len(kept), all(each in kept for each in plain)) == (len(plain), True)
        assert kept.size_bytes == sum(counted)
    kept.clear()
    assert (kept.size_bytes, sum(counted), len(kept)) == (0, 0, 0)


def test_settling_looks_at_none_but_those_that_are_settled() -> None:
    """Or every frame of a stream whose results are not settled would cost all of them."""
    looked_at: list[int] = []

    class Frame(int):
        def __le__(self, other: int) -> bool:
            looked_at.append(int(self))
            return super().__le__(other)

        def __lt__(self, other: int) -> bool:
            looked_at.append(int(self))
            return super().__lt__(other)

        def __gt__(self, other: int) -> bool:
            looked_at.append(int(self))
            return super().__gt__(other)

    kept = KeptResults(1000, 10**6, lambda _: None)
    for sequence in range(1, 1001):
        kept.keep(Frame(sequence), say.result(sequence))
    looked_at.clear()
    kept.settle(3)
    assert len(kept) == 997
    assert len(looked_at) < 20
