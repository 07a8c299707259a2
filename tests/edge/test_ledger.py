"""Every accepted frame is settled exactly once."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from isthmus_edge import Ledger


class LedgerMachine(RuleBasedStateMachine):
    """Frames come, answers come in any order, twice, and for frames nobody accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.settled: set[int] = set()
        self.refused = 0

    @rule()
    def accept(self) -> None:
        assert self.ledger.accept() == self.ledger.accepted

    @rule(sequence=st.integers(1, 30), outcome=st.sampled_from(["cloud", "device", "error"]))
    def settle(self, sequence: int, outcome: str) -> None:
        fresh = sequence <= self.ledger.accepted and sequence not in self.settled
        assert self.ledger.settle(sequence, outcome) is fresh  # type: ignore[arg-type]
        self.refused += not fresh
        if fresh:
            self.settled.add(sequence)

    @invariant()
    def every_frame_is_pending_or_ended_once(self) -> None:
        ledger = self.ledger
        ends = sum(ledger.settled(outcome) for outcome in ("cloud", "device", "error"))
        assert ends == len(self.settled)
        assert ledger.accepted == ends + ledger.pending

    @invariant()
    def every_refused_end_is_counted(self) -> None:
        assert self.ledger.ended_twice == self.refused


TestLedger = LedgerMachine.TestCase
