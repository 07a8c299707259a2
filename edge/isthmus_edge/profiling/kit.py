"""A kit as a device reads it: a stranger's directory, trusted after every byte was checked."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from isthmus import BundleError, check_file
from isthmus.profiles import ANSWERS_NAME, INPUTS_NAME, KIT_NAME, Kit, KitNetwork, decode_kit
from isthmus_edge.profiling.arrays import WAY_OUT, ArrayFile
from isthmus_edge.profiling.session import AnyArray, Feed

__all__ = ["OpenKit", "open_kit", "read_kit"]

_MAX_KIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OpenKit:
    """A kit on disk; `sha256` is its fingerprint."""

    folder: Path
    kit: Kit
    sha256: str

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name

    def items(self) -> tuple[Feed, ...]:
        """Each real input, as the graph takes it: a batch of one. BundleError if damaged."""
        specs = {f"input_{index}": spec for index, spec in enumerate(self.kit.inputs)}
        arrays = ArrayFile(self.file(INPUTS_NAME), "input").read(specs, self.kit.items)
        return tuple(
            {
                spec.name: array[row : row + 1].reshape(spec.graph_shape)
                for spec, array in zip(self.kit.inputs, arrays, strict=True)
            }
            for row in range(self.kit.items)
        )

    def answers(self, network: KitNetwork) -> list[AnyArray]:
        """What ONNX Runtime gave where the kit was written: each output [answered,*shape].

        BundleError if damaged.
        """
        place = self.kit.networks.index(network)
        specs = {f"answer_{place}_{index}": spec for index, spec in enumerate(self.kit.outputs)}
        return ArrayFile(self.file(ANSWERS_NAME), "answer").read(specs, self.kit.answered)


def open_kit(folder: Path) -> OpenKit:
    """Read `kit.json` and check size and sha256 of every file; BundleError names the wrong one."""
    opened = read_kit(folder)
    for entry in opened.kit.files:
        check_file(opened.file(entry.path), entry, KIT_NAME, WAY_OUT)
    return opened


def read_kit(folder: Path) -> OpenKit:
    """Read `kit.json` alone; BundleError if it is missing or wrong."""
    path = folder / KIT_NAME
    try:
        if path.stat().st_size > _MAX_KIT_BYTES:
            raise BundleError(f"{path}: larger than any kit's; {WAY_OUT}")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{folder}: no profile kit here ({error.strerror}: {KIT_NAME}); write one with "
            "`isthmus profile --kit DIR MODEL` where the model is, and copy it here"
        ) from error
    return OpenKit(folder, decode_kit(data, str(path)), hashlib.sha256(data).hexdigest())
