"""What a replica keeps of streams is bounded."""

from tests.cloud.device import Head

from isthmus import Bundle, SymbolCoder
from isthmus_cloud.answering.memory import StreamMemory
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.routes import routes_of
from isthmus_cloud.replicas.memories import Memories

KEPT_BYTES = 8 * 16 * 16  # of a stream of the tiny bundle


def test_a_streams_memory_is_the_same_until_it_is_forgotten() -> None:
    memories = Memories(most_streams=2)
    first = memories.of("first")
    memories.of("second")
    assert memories.of("first") is first  # and so it is not the oldest any more
    memories.of("third")
    assert memories.of("first") is first
    assert len(memories) == 2


def test_symbols_beyond_the_bound_are_let_go_with_the_streams_of_the_longest_silence(
    bundle: Bundle, tails: dict[str, Tail], head: Head
) -> None:
    route = routes_of(bundle.manifest, tails)["cut-16"]
    key_frame = head.film("cut-16", 2)[1]
    memories = Memories(most_bytes=2 * KEPT_BYTES)
    held: dict[str, StreamMemory] = {}
    for name in ("first", "second", "third"):
        held[name] = memories.of(name)
        held[name].turn(route, key_frame).decode(SymbolCoder())
        assert held[name].kept_bytes == KEPT_BYTES
        for _ in range(2):  # what was counted is not counted again
            memories.settle([name, "nobody"])
    assert len(memories) == 2
    assert memories.of("third") is held["third"]
    assert memories.of("second") is held["second"]
    assert memories.of("first") is not held["first"]
