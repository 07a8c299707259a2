"""Items, their sources, and the three sets that they are divided into."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus import ConfigError, TensorSpec
from isthmus_partitioner.samples import (
    Samples,
    SampleSets,
    joined,
    limited,
    sets_of,
    split_by_source,
)


def items(*sources: str) -> Samples:
    """Items that know their number."""
    return Samples({"x": np.arange(len(sources), dtype=np.float32)[:, None]}, sources)


def numbers(samples: Samples) -> list[int]:
    return [int(row) for row in samples.arrays["x"][:, 0]]


def of_each(counts: Sequence[int]) -> Samples:
    return items(*(f"s{i}" for i, count in enumerate(counts) for _ in range(count)))


def sources_of(sets: SampleSets) -> list[set[str]]:
    return [set(each.sources) for each in (sets.fitted, sets.held_back, sets.evaluation)]


def test_an_item_goes_into_the_graph_as_a_batch_of_one() -> None:
    specs = (
        TensorSpec(name="x", data_type="float32", shape=(3,)),
        TensorSpec(name="state", data_type="float32", shape=(2, 4), batch_axis=1),
        TensorSpec(name="sr", data_type="int64", shape=(), batch_axis=None),
    )
    arrays = {"x": np.ones((2, 3)), "state": np.ones((2, 2, 4)), "sr": np.array([8, 16])}
    feeds = list(Samples(arrays, ("a", "b")).feeds(specs))
    assert [{name: array.shape for name, array in feed.items()} for feed in feeds] == [
        {"x": (1, 3), "state": (2, 1, 4), "sr": ()}
    ] * 2
    assert [int(feed["sr"]) for feed in feeds] == [8, 16]


def test_an_input_without_a_row_for_each_item_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"input 'x' has shape \[2, 1\] for 3 items"):
        Samples({"x": np.ones((2, 1))}, ("a", "b", "c"))


def test_parts_are_joined_in_order() -> None:
    whole = joined([items("a", "b"), items("c")])
    assert (numbers(whole), whole.sources) == ([0, 1, 0], ("a", "b", "c"))


@given(st.lists(st.integers(1, 30), min_size=3, max_size=12))
def test_no_two_sets_share_a_source_and_no_item_is_lost(counts: list[int]) -> None:
    samples = of_each(counts)
    sets = split_by_source(samples)
    assert all(sources_of(sets))
    assert sum(map(len, sources_of(sets))) == len(counts)
    together = [sets.fitted, sets.held_back, sets.evaluation]
    assert sorted(number for each in together for number in numbers(each)) == list(
        range(len(samples))
    )
    for each in together:
        assert [samples.sources[number] for number in numbers(each)] == list(each.sources)


@given(st.lists(st.integers(8, 12), min_size=10, max_size=20))
def test_the_sets_get_about_their_shares(counts: list[int]) -> None:
    sets = split_by_source(of_each(counts))
    shares = [len(each) / sum(counts) for each in (sets.fitted, sets.held_back, sets.evaluation)]
    assert shares == pytest.approx([0.3, 0.2, 0.5], abs=0.12)
    assert sets.notes == ()
    assert sets.are_real


def test_the_shares_can_be_chosen() -> None:
    sets = split_by_source(of_each([1] * 100), held_back=0.1, evaluation=0.2)
    assert [len(each) for each in (sets.fitted, sets.held_back, sets.evaluation)] == [70, 10, 20]


def test_a_source_that_outweighs_all_others_leaves_no_set_empty() -> None:
    assert all(sources_of(split_by_source(of_each([90, 5, 5]))))


def test_the_same_samples_give_the_same_sets() -> None:
    counts = [3, 9, 4, 4, 7]
    once, again = (split_by_source(of_each(counts)) for _ in range(2))
    assert sources_of(once) == sources_of(again)


def test_with_two_sources_the_evaluation_has_one_of_its_own_and_a_note_says_the_rest() -> None:
    sets = split_by_source(of_each([6, 10]))
    assert sources_of(sets) == [{"s0"}, {"s0"}, {"s1"}]
    assert set(numbers(sets.fitted)).isdisjoint(numbers(sets.held_back))
    (note,) = sets.notes
    assert "'s0'" in note
    assert "three sources" in note


def test_with_one_source_the_sets_are_pieces_of_it_and_a_note_says_what_that_means() -> None:
    sets = split_by_source(of_each([20]))
    assert numbers(sets.fitted) == list(range(6))
    assert numbers(sets.held_back) == list(range(6, 10))
    assert numbers(sets.evaluation) == list(range(10, 20))
    (note,) = sets.notes
    assert "items like those that ranges were fitted to" in note
    assert "other sources" in note


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_items_than_sets_serve_in_all_of_them_and_a_note_says_so(count: int) -> None:
    sets = split_by_source(of_each([count]))
    assert numbers(sets.fitted) == numbers(sets.evaluation) == list(range(count))
    assert any("the very same" in note for note in sets.notes)
    assert any(f"only {count} items" in note for note in sets.notes)


def test_few_items_of_many_sources_are_divided_with_a_note() -> None:
    sets = split_by_source(of_each([1] * 5))
    assert [len(each) for each in sources_of(sets)] == [2, 1, 2]
    assert ["only 5 items" in note for note in sets.notes] == [True]


def test_no_items_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match="no items"):
        split_by_source(of_each([]))


@pytest.mark.parametrize(("held_back", "evaluation"), [(0, 0.5), (0.2, 0), (0.5, 0.5)])
def test_shares_that_leave_a_set_empty_are_refused(held_back: float, evaluation: float) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        split_by_source(of_each([5, 5, 5]), held_back=held_back, evaluation=evaluation)


def test_an_evaluation_of_its_own_is_left_as_it_is() -> None:
    sets = sets_of(of_each([2] * 5), items("other", "other"))
    fitted, held, judged = sources_of(sets)
    assert (len(fitted), len(held), judged) == (3, 2, {"other"})
    assert not fitted & held
    assert sets.notes == ()


def test_calibration_of_one_source_is_noted() -> None:
    sets = sets_of(of_each([10]), items("other"))
    assert (len(sets.fitted), len(sets.held_back)) == (6, 4)
    assert ["only source 's0'" in note for note in sets.notes] == [True]


def test_sources_take_turns_where_there_are_more_items_than_needed() -> None:
    sources = ["a"] * 5 + ["b"] + ["c"] * 3
    assert limited(sources, 6) == [0, 1, 2, 5, 6, 7]
    assert limited(sources, 100) == list(range(9))
