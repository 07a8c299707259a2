"""The bench: an emulated link, the baselines, and the demo that measures everything in one run.

Its parts are imported by name (`isthmus_bench.demo`, `isthmus_bench.relay`): some of them are
processes of their own.
"""

__all__: list[str] = []
