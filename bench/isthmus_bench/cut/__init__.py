"""The cut search's bench: how long it takes to find all best cuts of real and made-up networks."""

__all__: list[str] = []
