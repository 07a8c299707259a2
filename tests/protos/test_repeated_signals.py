"""Which signals are meant, and which only repeat the one before."""

from isthmus.repeated_signals import SAME_S, Breaths


def test_what_follows_in_one_breath_is_the_same_signal() -> None:
    now_s = [0.0]
    breaths = Breaths(lambda: now_s[0])

    def heard_after(seconds: float) -> bool:
        now_s[0] += seconds
        return breaths.is_new()

    assert heard_after(0.0)
    assert not heard_after(0.01)
    assert not heard_after(SAME_S / 2)
    assert heard_after(SAME_S)
    assert not heard_after(SAME_S / 2)
    assert heard_after(SAME_S)
