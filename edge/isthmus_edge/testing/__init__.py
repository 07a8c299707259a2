"""For the tests of programs that use an agent: a cloud in the same process, without a network."""

from isthmus_edge.testing.fake_cloud import FakeCloud
from isthmus_edge.testing.received import AnswerWith, Outputs, Received

__all__ = ["AnswerWith", "FakeCloud", "Outputs", "Received"]
