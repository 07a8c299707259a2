"""Of the runtime's own profile, what each kernel took is read, and nothing else."""

import json
import tempfile

import pytest

from isthmus import ModelError, kernels_of


def event(name: str, ts: int, dur: int, **fields: object) -> dict[str, object]:
    return {
        "name": f"{name}_kernel_time",
        "cat": "Node",
        "ts": ts,
        "dur": dur,
        "args": {"op_name": name.title(), "node_index": "3", **fields},
    }


def test_a_kernel_is_charged_with_its_lower_quartile_over_the_runs() -> None:
    events = [event("conv", 100 * run, dur) for run, dur in enumerate((9, 1, 2, 3, 90))]
    (kernel,) = kernels_of(json.dumps(events).encode(), "m")
    assert (kernel.name, kernel.op, kernel.index, kernel.ms) == ("conv", "Conv", 3, 0.002)


def test_what_runs_inside_another_kernel_is_part_of_its_time() -> None:
    """The runtime writes the body of an If before the If itself."""
    events = [
        event("inner", 10, 5),
        event("inner", 15, 5),
        event("if", 8, 20),
        event("next", 28, 2),
    ]
    kernels = kernels_of(json.dumps(events).encode(), "m")
    assert [(kernel.name, kernel.ms) for kernel in kernels] == [("if", 0.02), ("next", 0.002)]


def test_what_is_no_kernel_is_left_out() -> None:
    session = {"name": "model_run", "cat": "Session", "ts": 0, "dur": 99}
    fence = {"name": "conv_fence_before", "cat": "Node", "ts": 1, "dur": 1}
    assert kernels_of(json.dumps([session, fence]).encode(), "m") == ()


def test_a_profile_that_the_runtime_could_not_finish_is_named_with_the_folder_it_needs() -> None:
    with pytest.raises(ModelError, match=rf"m\.onnx.*not whole.*{tempfile.gettempdir()}.*TMPDIR"):
        kernels_of(b"[{", "m.onnx")
