"""Result files that are whole or not there."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from isthmus import ConfigError

__all__ = ["partial_of", "write_whole"]


def partial_of(out: Path) -> Path:
    """Where the finished measurements for `out` are kept until all are there."""
    return out.with_name(f"{out.name}.partial")


def write_whole(path: Path, data: bytes) -> None:
    """Write beside `path` under another name, sync, rename; ConfigError if that cannot be done."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); make room, or choose another file"
        ) from error
    finally:
        with suppress(OSError):  # there is none where nothing could be written
            unfinished.unlink()
