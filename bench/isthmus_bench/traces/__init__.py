"""Bandwidth traces: how fast a link was at each moment, from files or made up."""

from isthmus_bench.traces.files import read_trace, shared_traces
from isthmus_bench.traces.synthetic import builtin_traces
from isthmus_bench.traces.trace import Trace

__all__ = ["Trace", "builtin_traces", "read_trace", "shared_traces"]
