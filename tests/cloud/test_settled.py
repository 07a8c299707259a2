"""What the collector leaves out, once a process has loaded what it serves."""

import gc
import weakref

from isthmus_cloud.garbage import settle


class Node:
    """May refer to itself, so that only the collector ends it."""

    def __init__(self) -> None:
        self.own: Node | None = None


def knot() -> weakref.ref[Node]:
    node = Node()
    node.own = node
    return weakref.ref(node)


def test_what_is_there_is_not_looked_at_again_and_what_comes_later_is() -> None:
    held = [Node() for _ in range(1000)]
    before, lost = gc.get_freeze_count(), knot()
    settle()
    assert lost() is None
    assert gc.get_freeze_count() >= before + len(held)
    later = knot()
    gc.collect()
    assert later() is None
