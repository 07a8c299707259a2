"""What of one stream is on the link, and what the estimator learns when it has arrived."""

from isthmus.v1 import split_pb2 as pb
from isthmus_edge.link import Estimator, LinkEstimate

__all__ = ["Carried"]


class Carried:
    """All times are of the device's monotonic clock, in seconds."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._numbers: dict[int, int] = {}  # the estimator's, of frames without a reply yet

    def begin(self) -> None:
        """A new stream: it may take another road."""
        self._estimator.reset()
        self._numbers.clear()

    def estimate(self, now: float) -> LinkEstimate | None:
        """The link as it is believed to be."""
        return self._estimator.estimate(now)

    def report(self, now: float) -> pb.LinkReport | None:
        """The same, for the service to show; None while nothing is believed."""
        link = self._estimator.estimate(now)
        if link is None:
            return None
        return pb.LinkReport(bandwidth_bps=link.bandwidth_bps, rtt_ms=link.rtt_ms)

    def queue_ms(self, now: float) -> float:
        """How long the next message would wait behind those that are still on the link."""
        return self._estimator.queue_s(now) * 1e3

    def queue_bytes(self, now: float) -> float:
        """How much of them is still on the link, as it is believed to be."""
        link = self._estimator.estimate(now)
        return 0.0 if link is None else self.queue_ms(now) * link.bandwidth_bps / 8e3

    def frame(self, sequence: int, size_bytes: int, now: float) -> None:
        """A frame goes out."""
        self._numbers[sequence] = self._estimator.sent(size_bytes, now)

    def audit(self, size_bytes: int, now: float) -> None:
        """Its verdict comes too late to learn from."""
        self._estimator.lost(self._estimator.sent(size_bytes, now))

    def beat(self, size_bytes: int, now: float) -> int:
        """A heartbeat goes out; the estimator's number of it."""
        return self._estimator.sent(size_bytes, now)

    def withdrawn(self, sequence: int) -> None:
        """A frame has not left after all."""
        self._estimator.withdrawn(self._numbers.pop(sequence, 0))

    def learn(self, message: pb.CloudMessage) -> None:
        """Every reply about a frame tells when it arrived, also if nobody waits for it any more."""
        match message.WhichOneof("kind"):
            case "result":
                timing = message.result.timing
                number = self._numbers.pop(message.result.sequence, 0)
                self._estimator.received(number, timing.received_ns / 1e9, timing.total_ms / 1e3)
            case "error" if message.error.received_ns:
                number = self._numbers.pop(message.error.sequence, 0)
                self._estimator.received(number, message.error.received_ns / 1e9)
            case "error":
                self._estimator.lost(self._numbers.pop(message.error.sequence, 0))
