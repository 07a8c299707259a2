"""The flags that say what a plan strives for and must hold to."""

import argparse
from math import inf, nan
from pathlib import Path
from typing import get_args

from isthmus_cli.numbers import count, duration
from isthmus_partitioner.planning.constraints import Goals
from isthmus_partitioner.planning.objectives import Objective
from isthmus_partitioner.planning.prices import (
    DEFAULT_PRICES,
    PRICES_EXAMPLE,
    Prices,
    read_prices,
)

__all__ = ["add_goal_arguments", "goals_of", "prices_of"]

_BPS = 1e6  # bandwidths are given in Mbit/s
_BYTES = 1e6  # and memory in MB


def add_goal_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags, and show what a price file holds."""
    _add_objective(parser.add_argument_group("what the plan strives for"))
    _add_constraints(
        parser.add_argument_group(
            "what it must hold to", "If nothing does, the nearest plan that is feasible is named."
        )
    )
    parser.add_argument_group("a file for --prices, with the defaults", PRICES_EXAMPLE)


def _add_objective(group: argparse._ArgumentGroup) -> None:
    low, high = (bps / _BPS for bps in Goals().bandwidth_bps)
    group.add_argument(
        "--objective",
        choices=get_args(Objective),
        help="what candidates are chosen by; throughput is that of a pipelined stream "
        "(default: what is best in latency or in throughput)",
    )
    group.add_argument(
        "--candidates",
        type=count,
        metavar="K",
        help="keep at most K beside `local`: those that are best over the widest ranges of "
        "bandwidth (default: all that are best somewhere)",
    )
    group.add_argument(
        "--bandwidth",
        type=_range,
        metavar="LOW:HIGH",
        help=f"the range of interest in Mbit/s (default {low:g}:{high:g})",
    )
    group.add_argument(
        "--rtt",
        type=_round_trip,
        default=Goals().rtt_ms,
        metavar="MS",
        help="round trip time of the link (default %(default)g, which favours splitting most)",
    )
    group.add_argument(
        "--answer-top",
        type=count,
        default=Goals().answer_top_k,
        metavar="K",
        help="values of a classifier's answer that come back, as in `isthmus edge --top` "
        "(default: all)",
    )
    group.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help="watts and prices behind edge-energy and cloud-cost, as TOML (see below)",
    )


def _add_constraints(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--min-agreement",
        "--agreement-floor",
        type=_share,
        default=Goals().min_agreement,
        metavar="SHARE",
        help="of the answers that equal those of the unsplit fp32 model (default %(default)g)",
    )
    group.add_argument(
        "--deadline", type=duration, metavar="MS", help="of an answer, round trip too"
    )
    group.add_argument(
        "--max-edge-memory", type=duration, metavar="MB", help="of a head on the device"
    )
    group.add_argument(
        "--privacy-depth",
        type=_share,
        default=Goals().privacy_depth,
        metavar="SHARE",
        help="of the multiply-accumulates, 0-1, that lies before whatever leaves the device",
    )
    group.add_argument(
        "--no-raw-input", action="store_true", help="send no input as it is, nor as a picture"
    )


def _range(text: str) -> tuple[float, float]:
    slowest, fastest = (bps / _BPS for bps in Goals().bandwidth_bps)
    low, high = (_number(part) for part in text.partition(":")[::2])
    if not slowest <= low < high <= fastest:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no range LOW:HIGH in Mbit/s within {slowest:g}:{fastest:g}, "
            "for instance 1:20"
        )
    return low * _BPS, high * _BPS


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, a number in 0-1")
    return value


def _round_trip(text: str) -> float:
    value = _number(text)
    if not 0 <= value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in ms, a number from 0")
    return value


def _number(text: str) -> float:
    """NaN, which is in no range, for what is no number."""
    try:
        return float(text)
    except ValueError:
        return nan


def goals_of(options: argparse.Namespace) -> Goals:
    """The goals on the command line."""
    memory_mb = options.max_edge_memory
    return Goals(
        objective=options.objective,
        min_agreement=options.min_agreement,
        deadline_ms=options.deadline,
        max_edge_memory_bytes=None if memory_mb is None else max(1, round(memory_mb * _BYTES)),
        privacy_depth=options.privacy_depth,
        no_raw_input=options.no_raw_input,
        candidates=options.candidates,
        bandwidth_bps=options.bandwidth or Goals().bandwidth_bps,
        rtt_ms=options.rtt,
        answer_top_k=options.answer_top,
    )


def prices_of(options: argparse.Namespace) -> Prices:
    """The prices on the command line; ConfigError for a file that cannot be used."""
    return DEFAULT_PRICES if options.prices is None else read_prices(options.prices)
