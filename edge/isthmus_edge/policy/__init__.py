"""Where the next frame is computed, and how fine it is sent. Begin reading at `choice.py`."""

__all__: list[str] = []
