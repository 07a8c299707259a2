"""Rate control is pure: these tests are frames with known sizes against known budgets."""

import random
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from math import inf
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.edge.ladders import AGREEMENTS, COARSEST, FLOOR, PICTURE, SIZES, candidate

from isthmus import Candidate, ConfigError
from isthmus_edge.policy.rate import GOOD_FRAMES, Budget, Choice, RateController

B7 = candidate()
B7_SPREAD = candidate(spread=0.1)
LOCAL = candidate("local", (0,), (1.0,), encoding=None, edge_ms=160, chosen=0)


def room(size: float) -> Budget:
    return Budget(link_bytes=size)


class Stream:
    """Frames of one candidate: `send` chooses, encodes and learns as an agent does."""

    def __init__(self, *candidates: Candidate, floor: float = FLOOR) -> None:
        self.controller = RateController(candidates)
        self.candidate = candidates[0]
        self.floor = floor

    def send(self, space: float, factor: float = 1.0) -> tuple[Choice, int]:
        """One frame, `factor` times the planned size: what was chosen, and its bytes."""
        choice = self.controller.choose(self.candidate, self.floor, room(space))
        size = round(self.candidate.rungs[choice.rung].figures.payload_bytes * factor)
        self.controller.learn(self.candidate.id, choice.rung, size)
        return choice, size

    def rungs(self, space: float, frames: int, factor: float = 1.0) -> list[int]:
        return [self.send(space, factor)[0].rung for _ in range(frames)]

    def settled(self, space: float) -> "Stream":
        """After enough frames to have climbed the whole ladder."""
        self.rungs(space, (GOOD_FRAMES + 1) * len(SIZES))
        return self


# Which rung that is


def test_a_candidate_begins_at_the_rung_that_its_plan_chose() -> None:
    assert Stream(B7).rungs(1e6, 1) == [COARSEST]
    assert Stream(candidate(chosen=2)).rungs(1e6, 1) == [2]


def test_a_first_rung_that_does_not_fit_gives_way_at_once() -> None:
    assert Stream(candidate(chosen=0)).rungs(6_500, 1) == [3]


def test_finer_comes_one_rung_at_a_time_after_good_frames_in_a_row() -> None:
    rungs = Stream(B7).rungs(7_500, 4 * GOOD_FRAMES + 4)
    assert rungs[:11] == [5] * 10 + [4]
    assert rungs[GOOD_FRAMES + 1 : 2 * (GOOD_FRAMES + 1)] == [4] * GOOD_FRAMES + [3]
    assert rungs[-1] == 2
    assert set(pairwise(rungs)) == {(5, 5), (5, 4), (4, 4), (4, 3), (3, 3), (3, 2), (2, 2)}


def test_one_frame_that_would_not_have_fitted_starts_the_count_anew() -> None:
    stream = Stream(B7)
    stream.rungs(1e6, GOOD_FRAMES)
    stream.send(4_500)
    assert stream.rungs(1e6, GOOD_FRAMES + 1) == [5] * GOOD_FRAMES + [4]


def test_a_step_coarser_starts_the_count_anew() -> None:
    stream = Stream(B7)
    stream.rungs(1e6, 2 * GOOD_FRAMES)
    assert stream.rungs(4_500, 1) == [5]
    assert stream.rungs(1e6, GOOD_FRAMES + 1) == [5] * GOOD_FRAMES + [4]


def test_a_frame_that_would_have_overrun_in_hindsight_starts_the_count_anew() -> None:
    """Rung 4 is expected to fit all the time; one frame was too large for it."""
    stream = Stream(B7)
    stream.rungs(6_000, GOOD_FRAMES - 1)
    stream.send(6_000, factor=1.25)
    assert stream.controller.expected_bytes(B7, 4) <= 6_000
    assert stream.rungs(6_000, GOOD_FRAMES + 1) == [5] * (GOOD_FRAMES + 1)
    assert stream.rungs(6_000, 1) == [4]


def test_coarser_comes_at_once_and_over_several_rungs() -> None:
    stream = Stream(B7).settled(1e6)
    assert stream.rungs(1e6, 1) == [0]
    assert stream.rungs(5_500, 1) == [4]
    assert stream.rungs(100, 1) == [COARSEST]


def test_the_floor_is_never_passed_and_the_choice_says_that_nothing_fits() -> None:
    choice, _ = Stream(B7).send(3_500)
    assert (choice.rung, choice.fits, choice.predicted_bytes) == (COARSEST, False, 4_000)
    assert "nothing coarser is allowed" in choice.reason


def test_a_floor_that_rises_moves_the_rung_at_once() -> None:
    controller = RateController([B7])
    assert controller.choose(B7, FLOOR, room(4_500)).rung == 5
    assert controller.choose(B7, 0.98, room(4_500)).rung == 3


def test_where_no_rung_meets_the_floor_the_finest_is_taken() -> None:
    poor = candidate(agreements=[a - 0.1 for a in AGREEMENTS])
    assert Stream(poor).send(100)[0].rung == 0


def test_a_rung_behind_one_below_the_floor_is_not_used() -> None:
    lucky = candidate(agreements=(1.0, 0.99, 0.90, 0.99, 0.97, 0.96, 0.95), chosen=1)
    assert Stream(lucky).send(100)[0].rung == 1


def test_what_one_rung_takes_tells_what_all_will_take() -> None:
    stream = Stream(B7)
    stream.send(1e6, factor=1.5)
    expected = [stream.controller.expected_bytes(B7, rung) for rung in range(len(SIZES))]
    assert expected == [size * 1.5 for size in SIZES]


def test_the_newest_frames_count_most() -> None:
    stream = Stream(B7)
    stream.rungs(1e6, 5)
    stream.rungs(1e6, 5, factor=2.0)
    assert 1.9 * SIZES[0] < stream.controller.expected_bytes(B7, 0) < 2.0 * SIZES[0]


def test_while_nothing_is_known_a_rung_must_fit_with_its_95th_percentile() -> None:
    assert Stream(candidate(spread=0.1, chosen=0)).rungs(5_500, 1) == [4]
    assert Stream(candidate(spread=0.1, chosen=0)).rungs(5_499, 1) == [5]
    assert Stream(candidate(spread=0.1, chosen=4)).rungs(5_499, 1) == [5]


def margin_after(factors: Sequence[float]) -> float:
    """What a rung must fit with, as a share of its planned median."""
    stream = Stream(B7_SPREAD)
    for factor in factors:
        stream.send(4_000, factor)
    return stream.controller.coarsest_bytes(B7_SPREAD, FLOOR) / SIZES[COARSEST]


def test_a_steady_stream_needs_no_margin() -> None:
    assert margin_after([]) == 1.1
    assert margin_after([1.0]) == 1.1
    assert margin_after([1.0] * 12) == pytest.approx(1, abs=1e-3)


def test_unrelated_frames_keep_the_margin() -> None:
    mean = 1 + 0.1 / 3  # where a running mean that weighs the newest by half stands after 1.1
    assert margin_after([0.9, 1.1] * 6) == pytest.approx(1.1 * mean, abs=1e-3)


@pytest.mark.parametrize(("space", "reached"), [(5_600, 5), (5_700, 4)])
def test_unrelated_frames_go_finer_only_where_the_margin_fits_too(space: int, reached: int) -> None:
    """The largest of them would take 5500 bytes at rung 4; what must fit is 5683."""
    stream = Stream(B7_SPREAD)
    rungs = [stream.send(space, factor)[0].rung for factor in [0.9, 1.1] * 30]
    assert min(rungs) == reached


def test_a_stream_that_was_left_is_unknown_again() -> None:
    stream = Stream(B7_SPREAD, candidate("b14"))
    stream.settled(4_000)
    stream.controller.choose(candidate("b14"), FLOOR, room(4_000))
    stream.controller.choose(B7_SPREAD, FLOOR, room(4_000))
    assert stream.controller.coarsest_bytes(B7_SPREAD, FLOOR) == 4_400


def test_a_rung_that_was_entered_with_room_is_not_left_for_a_slightly_larger_frame() -> None:
    stream = Stream(B7_SPREAD).settled(5_200)
    assert stream.rungs(5_200, 1) == [4]
    assert stream.rungs(5_200, 3, factor=1.03) == [4, 4, 4]


def test_another_candidate_in_between_resets_the_count_of_good_frames() -> None:
    other = candidate("b14")
    stream = Stream(B7, other)
    stream.rungs(1e6, GOOD_FRAMES)
    stream.controller.choose(other, FLOOR, room(1e6))
    assert stream.rungs(1e6, GOOD_FRAMES + 1) == [5] * GOOD_FRAMES + [4]


def test_candidates_are_learned_apart() -> None:
    other = candidate("b14")
    stream = Stream(B7, other)
    stream.send(1e6, factor=2.0)
    assert stream.controller.expected_bytes(other, 0) == SIZES[0]


def test_picture_qualities_are_walked_like_steps() -> None:
    picture = candidate("input-jpeg", encoding=PICTURE)
    assert Stream(picture).rungs(7_500, 60) == Stream(B7).rungs(7_500, 60)


def test_an_empty_payload_breaks_nothing() -> None:
    stream = Stream(B7_SPREAD)
    assert stream.rungs(1e6, 3, factor=0) == [5, 5, 5]


def test_local_sends_nothing_and_always_fits() -> None:
    stream = Stream(LOCAL)
    choice, _ = stream.send(0)
    assert (choice.rung, choice.predicted_bytes, choice.fits) == (0, 0, True)
    assert stream.send(0)[0].fits


def test_an_unknown_candidate_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'b9'.*b7, local"):
        RateController([B7, LOCAL]).learn("b9", 0, 100)


# What would fit where nothing does


def advice(*others: Candidate, given: Budget, floor: float = FLOOR) -> str:
    found = RateController([B7, LOCAL, *others]).choose(B7, floor, given).advice
    assert found is not None
    return found


def test_there_is_no_advice_while_a_rung_fits() -> None:
    assert Stream(B7, candidate("b14", (2_000,), (0.99,), chosen=0)).send(4_000)[0].advice is None


def test_the_advice_is_the_fitting_candidate_of_greatest_agreement_with_its_bytes() -> None:
    deeper = candidate("b14", (3_000, 2_000, 1_000), (0.99, 0.98, 0.96), chosen=2)
    picture = candidate("input-webp", (2_500, 900), (0.97, 0.96), encoding=PICTURE, chosen=1)
    assert advice(deeper, picture, given=room(2_600)) == (
        "b14 would fit at rung 1: 2000 bytes, agreement 0.980"
    )
    assert "input-webp would fit at rung 1: 900 bytes" in advice(deeper, picture, given=room(950))


def test_what_is_not_kept_or_below_the_floor_is_no_advice() -> None:
    dropped = candidate("b14", (1_000,), (0.99,), chosen=0, kept=False)
    poor = candidate("b15", (1_000,), (0.90,), chosen=0)
    told = advice(dropped, poor, given=room(2_000))
    assert told.startswith("the plan keeps no other candidate that meets the floor")


def test_where_no_candidate_fits_the_advice_says_so_and_names_the_least() -> None:
    deeper = candidate("b14", (3_000, 2_000), (0.99, 0.98), chosen=1)
    told = advice(deeper, given=room(1_000))
    assert told.startswith("no other candidate fits (the least is b14, 2000 bytes)")


def test_the_advice_is_no_rung_below_the_floor() -> None:
    deeper = candidate("b14", (2_000, 1_000), (0.99, 0.90), chosen=0)
    assert "the least is b14, 2000 bytes" in advice(deeper, given=room(1_500))


def test_the_advice_counts_what_the_other_computes_longer_against_the_deadline() -> None:
    """10 ms more on the device and 10 in the cloud are worth 2000 of the 3000 bytes."""
    deeper = candidate("b14", (2_000,), (0.99,), edge_ms=29, tail_ms=19, chosen=0)
    assert "b14 would fit" in advice(deeper, given=room(3_000))
    late = Budget(deadline_bytes=3_000, bytes_per_ms=100)
    assert "no other candidate fits" in advice(deeper, given=late)
    sooner = candidate("input-jpeg", (5_000,), (0.99,), edge_ms=0, tail_ms=0, chosen=0)
    assert "input-jpeg would fit" in advice(deeper, sooner, given=late)


def test_the_advice_expects_of_others_what_their_own_frames_took() -> None:
    deeper = candidate("b14", (2_000,), (0.99,), chosen=0)
    controller = RateController([B7, deeper])
    controller.learn("b14", 0, 4_000)
    told = controller.choose(B7, FLOOR, room(3_000)).advice
    assert told is not None
    assert "the least is b14, 4000 bytes" in told


def test_what_is_not_trusted_any_more_is_no_advice() -> None:
    controller = RateController([B7, candidate("b14", (3_000, 2_000), (0.99, 0.98), chosen=1)])
    told = controller.choose(B7, FLOOR, room(2_500)).advice
    assert told is not None
    assert "b14 would fit at rung 1" in told
    controller.revise([candidate("b14", (3_000, 2_000), (0.99, 0.0), chosen=0)])
    told = controller.choose(B7, FLOOR, room(2_500)).advice
    assert told is not None
    assert "the least is b14, 3000 bytes" in told


# Whatever comes

spaces = st.floats(0, 15_000)
frames = st.lists(st.tuples(spaces, st.floats(0.5, 2.0)), max_size=60)


@settings(max_examples=40)
@given(frames=frames, floor=st.floats(0.85, 1.01), spread=st.floats(0, 0.6))
def test_no_frame_is_sent_below_the_floor(
    frames: list[tuple[float, float]], floor: float, spread: float
) -> None:
    stream = Stream(candidate(spread=spread), floor=floor)
    allowed = [a for a in AGREEMENTS if a >= floor] or [AGREEMENTS[0]]
    for space, factor in frames:
        choice, _ = stream.send(space, factor)
        assert AGREEMENTS[choice.rung] in allowed


@settings(max_examples=40)
@given(frames=frames, spread=st.floats(0, 0.6), less=spaces, more=spaces)
def test_a_larger_budget_never_means_a_coarser_rung(
    frames: list[tuple[float, float]], spread: float, less: float, more: float
) -> None:
    stream = Stream(candidate(spread=spread))
    for space, factor in frames:
        stream.send(space, factor)
    less, more = sorted((less, more))
    thin, wide = deepcopy(stream).send(less)[0], deepcopy(stream).send(more)[0]
    assert wide.rung <= thin.rung
    assert wide.fits >= thin.fits


@settings(max_examples=40)
@given(frames=frames, spread=st.floats(0, 0.6))
def test_a_rung_that_does_not_fit_is_left_at_once(
    frames: list[tuple[float, float]], spread: float
) -> None:
    """What is chosen is expected to fit, unless it is the coarsest that the floor allows."""
    stream = Stream(candidate(spread=spread))
    for space, factor in frames:
        choice, _ = stream.send(space, factor)
        assert choice.fits == (choice.predicted_bytes <= space)
        assert choice.fits or choice.rung == COARSEST
        assert (choice.advice is None) == choice.fits


@settings(max_examples=40)
@given(frames=frames, spread=st.floats(0, 0.6))
def test_between_two_steps_finer_lie_as_many_good_frames(
    frames: list[tuple[float, float]], spread: float
) -> None:
    stream = Stream(candidate(spread=spread))
    rungs = [stream.send(space, factor)[0].rung for space, factor in frames]
    steps = [i for i, (before, after) in enumerate(pairwise(rungs), 1) if after < before]
    assert all(rungs[i] == rungs[i - 1] - 1 for i in steps)
    assert all(later - sooner > GOOD_FRAMES for sooner, later in pairwise([-1, *steps]))


def changes_of_rung(space: float, spread: float, seed: int) -> int:
    """In 300 frames of +-12 % at one budget."""
    stream, chance = Stream(candidate(spread=spread)), random.Random(seed)
    rungs = [stream.send(space, chance.uniform(0.88, 1.12))[0].rung for _ in range(300)]
    return sum(before != after for before, after in pairwise(rungs))


@settings(max_examples=40)
@given(space=st.floats(3_500, 12_000), spread=st.floats(0.05, 0.15), seed=st.integers(0))
def test_sizes_that_jitter_do_not_make_the_rung_flap(
    space: float, spread: float, seed: int
) -> None:
    """The way up the ladder, and a few changes more in the mean of streams; a single one can meet
    ten small frames in a row again and again."""
    streams = [changes_of_rung(space, spread, seed + other) for other in range(8)]
    assert mean(streams) <= COARSEST + 6


@settings(max_examples=40)
@given(
    factor=st.floats(0.5, 1.5),
    spread=st.floats(0, 0.6),
    steps=st.lists(st.tuples(st.floats(6_100, 20_000), st.integers(1, 40)), max_size=8),
)
def test_with_sizes_of_one_scale_only_the_first_frame_can_overrun_a_stepping_budget(
    factor: float, spread: float, steps: list[tuple[float, int]]
) -> None:
    """The scale is not the plan's: nobody can know it before the first frame."""
    stream = Stream(candidate(spread=spread))
    sent = [(space, stream.send(space, factor)[1]) for space, n in steps for _ in range(n)]
    assert all(size <= space + 1 for space, size in sent[1:])


@settings(max_examples=40)
@given(scales=st.lists(st.floats(0.6, 1.5), min_size=2, max_size=5), space=spaces)
def test_after_a_change_of_scene_the_overrun_halves_with_each_frame(
    scales: list[float], space: float
) -> None:
    stream = Stream(B7)
    stream.rungs(1e6, 1, scales[0])
    for before, now in pairwise(scales):
        stream.rungs(space, 20, before)
        for known in range(6):
            choice, size = stream.send(space, now)
            unknown = abs(now - before) * 0.5**known * SIZES[choice.rung]
            assert size <= space + unknown + 2 or choice.rung == COARSEST


def test_an_endless_budget_is_one_too() -> None:
    choice, _ = Stream(B7).send(inf)
    assert choice.fits
