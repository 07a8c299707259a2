"""The guard of run-time agreement: samples, verdicts, drift. Begin reading at `audits.py`."""

__all__: list[str] = []
