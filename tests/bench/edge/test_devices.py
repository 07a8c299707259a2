"""Processes of the device's bench: what is there is found, what fails is explained."""

import sys
from pathlib import Path

from isthmus import Chain, Segment
from isthmus_bench.edge.config import EdgeBenchConfig
from isthmus_bench.edge.devices import Device, ask, find_devices
from isthmus_bench.edge.orders import Net, Order, Reply

OURS = Device("onnxruntime", Path(sys.executable))


def test_a_fresh_process_says_what_cannot_be_loaded(tmp_path: Path) -> None:
    segment = Segment(file="device/gone.onnx", inputs=(), outputs=())
    net = Net("gone", Chain(id="gone", precision="fp32", segments=(segment,)))
    (tmp_path / "items.npz").write_bytes(b"")
    order = Order(do="times", runtime="onnxruntime", folder=str(tmp_path), nets=(net,))
    reply = ask(OURS, order)
    assert reply.problem is not None
    assert "a process with onnxruntime failed" in reply.problem


def test_a_python_that_is_not_there_is_named() -> None:
    reply = ask(Device("litert", Path("none/python")), Order(do="describe", runtime="litert"))
    assert reply.problem is not None
    assert "none/python" in reply.problem


def test_a_runtime_is_looked_for_in_the_python_that_was_named() -> None:
    asked: list[tuple[str, Path]] = []

    def only_old(device: Device, order: Order) -> Reply:
        asked.append((order.runtime, device.python))
        return Reply(version="2") if order.runtime == "tflite-runtime" else Reply(problem="none")

    named = Path(sys.executable).with_name("python")
    devices = find_devices(EdgeBenchConfig(tflite_python=named), only_old)
    assert [(d.runtime, d.version, d.problem) for d in devices] == [
        ("onnxruntime", "", "none"),
        ("litert", "", "none"),
        ("tflite-runtime", "2", None),
    ]
    assert asked[-1] == ("tflite-runtime", named)
    assert {python for _, python in asked[:-1]} == {Path(sys.executable)}
