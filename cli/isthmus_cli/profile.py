"""`isthmus profile`: measure a model layer by layer."""

import argparse

import msgspec

from isthmus_cli.modelling import add_model_arguments, workbench_of
from isthmus_partitioner import render_profile

DESCRIPTION = """\
Quantise an ONNX image classifier and measure it on this machine: every layer in fp32
and int8, the whole network, and what lies before and behind every place where one
tensor crosses. Results are kept in --work for `isthmus plan` and `isthmus build`.
"""
EXAMPLES = """\
  isthmus profile efficientnet-lite0
  isthmus profile resnet.onnx --mean 123.7 116.3 103.5 --std 58.4 57.1 57.4 --json
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_model_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Profile and print."""
    profile = workbench_of(options).profile()
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(profile), indent=1).decode())
    else:
        print(render_profile(profile))
    return 0
