"""What the device computes, on one thread. Begin reading at `device.py`."""

__all__: list[str] = []
