"""The emulated link's bench: how true the emulator is to what it is asked for."""

__all__: list[str] = []
