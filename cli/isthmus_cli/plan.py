"""`isthmus plan`: find the cuts that are best somewhere, and measure them."""

import argparse

import msgspec

from isthmus_cli.modelling import add_model_arguments, workbench_of
from isthmus_partitioner import render_plan

DESCRIPTION = """\
Find where an ONNX model can be divided, build the most promising heads and tails,
measure them as wholes, and keep what is best at some bandwidth, with the reason for
each. Staying on the device and sending the input as it is (a picture as JPEG, WebP or
AVIF) are candidates like any other. Does the steps of `isthmus profile` first, unless
--work holds them.
"""
EXAMPLES = """\
  isthmus plan efficientnet-lite0 --edge-network-ms 150
  isthmus plan efficientnet-lite0 --steps 1/4 1/2 3/4 --formats jpeg --no-bottleneck  # quicker
  isthmus plan detector.onnx --objective throughput --no-raw-input --candidates 3
  isthmus plan model.onnx --edge edge.json --cloud cloud.json --inputs day.npz night.npz
  isthmus plan resnet.onnx --mean 123.7 116.3 103.5 --std 58.4 57.1 57.4 --pictures photos/
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_model_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Plan and print."""
    plan = workbench_of(options).plan()
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(plan), indent=1).decode())
    else:
        print(render_plan(plan))
    return 0
