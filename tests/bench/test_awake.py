"""Processors that are kept awake, by loops that end with whoever wants them."""

import os
import subprocess
import sys

import psutil
import pytest

from isthmus_bench.awake import Awake

pytestmark = pytest.mark.skipif(not Awake.is_possible(), reason="no idle priority here")
PATIENT_S = 20.0


def loops(of: int) -> list[psutil.Process]:
    return psutil.Process(of).children()


def test_each_processor_has_a_loop_that_yields_to_everything() -> None:
    before = {loop.pid for loop in loops(os.getpid())}
    with Awake():
        found = [loop for loop in loops(os.getpid()) if loop.pid not in before]
        assert len(found) == len(os.sched_getaffinity(0))
        while {os.sched_getscheduler(loop.pid) for loop in found} != {os.SCHED_IDLE}:
            assert all(loop.is_running() for loop in found)
        assert {loop.nice() for loop in found} == {19}
    assert {loop.pid for loop in loops(os.getpid())} <= before


def test_the_loops_end_with_a_process_that_is_killed() -> None:
    code = "from isthmus_bench.awake import Awake\nAwake().__enter__()\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None
        user.stdout.readline()
        found = loops(user.pid)
        assert found
        user.kill()
        _, alive = psutil.wait_procs(found, PATIENT_S)
    assert alive == []
