"""The bench of mixed precision: what the search finds for real networks, beside fp32 and int8."""

__all__: list[str] = []
