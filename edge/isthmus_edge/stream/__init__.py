"""Frames on their way: queue, head, link, answer. Begin reading at `pipeline.py`."""

__all__: list[str] = []
