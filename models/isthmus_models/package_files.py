"""Files inside installed packages, found without importing them: scikit-image takes seconds."""

from importlib.util import find_spec
from pathlib import Path

from isthmus.errors import ConfigError

__all__ = ["package_file"]


def package_file(package: str, inner_path: str, *, extra: str = "bench") -> Path:
    """The path of a file of the top-level import package `package`.

    Raises ConfigError if the package is not installed or does not hold the file; the message
    names `extra`, the extra of isthmus that installs it.
    """
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ConfigError(f"package {package} is not installed; pip install 'isthmus[{extra}]'")
    for folder in folders:
        path = Path(folder, inner_path)
        if path.is_file():
            return path
    raise ConfigError(
        f"package {package} holds no {inner_path} in this version; pip install 'isthmus[{extra}]' "
        "into a fresh environment"
    )
