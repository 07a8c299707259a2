"""Models inside packages that ask for more than anyone needs who only wants the model.

`silero-vad` wants torch, `basic-pitch` TensorFlow, `rapidocr-onnxruntime` OpenCV: they are
installed by `pip install --no-deps`, and read by path, never imported.
"""

from pathlib import Path

from isthmus.errors import ConfigError
from isthmus_models.package_files import package_file

__all__ = ["lone_file"]


def lone_file(package: str, inner_path: str, requirement: str) -> Path:
    """The path of a file of `package`; ConfigError that says how to install `requirement`."""
    try:
        return package_file(package, inner_path)
    except ConfigError as error:
        raise ConfigError(
            f"{inner_path} of {package} is not here; pip install --no-deps '{requirement}'"
        ) from error
