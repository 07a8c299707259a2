"""Work that nobody waits for stops, wherever it is."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from tests.tinybundle import PICTURE, tiny_pictures

from isthmus import ModelError, open_bundle
from isthmus_edge import Chains
from isthmus_edge.device.calloff import CallOff
from isthmus_edge.device.desk import Desk


def test_a_run_of_the_runtime_is_stopped_between_two_nodes(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle, "device")
    chain = Chains(bundle, threads=1).of(bundle.manifest.cut_of(bundle.manifest.local))
    held = {PICTURE.name: tiny_pictures(1)[0].reshape(PICTURE.graph_shape)}
    call_off = CallOff()
    assert chain.step(held, 0, call_off).keys() == chain.step(held, 0).keys()
    call_off.now()
    with pytest.raises(ModelError, match="terminate"):
        chain.step(held, 0, call_off)


def test_who_comes_to_a_call_that_was_made_hears_it_at_once() -> None:
    call_off, stops = CallOff(), list[str]()
    call_off.stops(lambda: stops.append("early"))
    call_off.now()
    call_off.stops(lambda: stops.append("late"))
    call_off.pause(1e6)
    assert stops == ["early", "late"]


def test_new_work_goes_before_a_rest_but_not_before_one_that_has_waited() -> None:
    desk, go_on, done = Desk("test"), Event(), list[str]()
    first = desk.submit(go_on.wait, 0.0)
    futures = [
        desk.submit(lambda name=name: done.append(name), due_s)  # type: ignore[misc]
        for name, due_s in (("rest", 2.0), ("head", 1.0), ("late head", 3.0), ("head 2", 1.0))
    ]
    go_on.set()
    desk.close()
    assert first.done()
    assert all(future.done() for future in futures)
    assert done == ["head", "head 2", "rest", "late head"]


def test_what_fails_at_the_desk_fails_where_it_is_awaited_and_the_next_work_is_done() -> None:
    desk = Desk("test")
    failing = desk.submit(lambda: np.zeros(-1))
    following = desk.submit(lambda: 5)
    with pytest.raises(ValueError, match="negative"):
        failing.result()
    assert following.result() == 5
    desk.close()
