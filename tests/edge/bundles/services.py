"""Services that hand out bundles: one of the tests' own, which fails on demand, and a real one."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cloud.store.bundles import pushed
from tests.cloud.store.serving import Served, serving_apart

from isthmus import BundleError, LinkError
from isthmus.signing import read_signature
from isthmus_cloud.security.identity import Guard
from isthmus_cloud.store import Store
from isthmus_edge.bundles import Fetcher, Manner, Offer, Shelf, Source

PIECE_BYTES = 500
NOBODY = "127.0.0.1:9"
SOURCE = Source(model="tiny", cloud=NOBODY)


class ScriptedService:
    """A bundle in a folder, in pieces of 500 bytes. `sent_bytes` counts them.

    `break_after` pieces the link breaks, once; `altered` may send another piece in each one's
    place; `manifest` is sent for that of the folder.
    """

    def __init__(self, bundle: Path, version: str = "v1") -> None:
        self.bundle = bundle
        self.version = version
        self.manifest = (bundle / "bundle.json").read_bytes()
        self.signature = read_signature(bundle)
        self.break_after: int | None = None
        self.altered: Callable[[str, int, bytes], bytes] = lambda _path, _offset, data: data
        self.sent_bytes = 0
        self.asked: list[tuple[str, int]] = []
        self.closed = 0

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()

    def current(self, model: str, held: str) -> Offer:
        manifest = b"" if held == self.fingerprint else self.manifest
        return Offer(model, self.version, self.fingerprint, manifest, self.signature)

    def pieces(self, fingerprint: str, path: str, offset: int) -> Iterator[bytes]:
        assert fingerprint == self.fingerprint
        self.asked.append((path, offset))
        data = (self.bundle / path).read_bytes()
        for at in range(offset, len(data), PIECE_BYTES):
            if self.break_after is not None:
                self.break_after -= 1
                if self.break_after < 0:
                    self.break_after = None
                    raise LinkError("the link broke")
            piece = self.altered(path, at, data[at : at + PIECE_BYTES])
            self.sent_bytes += len(piece)
            yield piece

    def close(self) -> None:
        self.closed += 1

    def dial(self, _address: str) -> "ScriptedService":
        return self


def device_bytes(bundle: Path) -> int:
    """What a device needs of a bundle, its manifest apart."""
    names = ("device/segment-0.onnx", "device/segment-1.onnx", "labels.txt")
    return sum((bundle / name).stat().st_size for name in names)


def fetcher(
    service: ScriptedService, shelf: Shelf, manner: Manner | None = None, source: Source = SOURCE
) -> Fetcher:
    return Fetcher(source, shelf, manner or Manner(attempts=1), service.dial)


@contextmanager
def real_service(
    store: Store, bundles: dict[str, Path], guard: Guard | None = None
) -> Iterator[Served]:
    """A store's service in a thread of its own; the first of the versions is active.

    Signatures that lie in the bundles go along.
    """
    for version, bundle in bundles.items():
        pushed(store, bundle, "tiny", version, read_signature(bundle))
    store.set_active("tiny", next(iter(bundles)))
    with serving_apart(store, guard) as served:
        yield served


def files_in(folder: Path) -> set[str]:
    """All but locks and the shelf's own notes."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {".lock", ".shelf.lock", ".shelf.json"}
    }


def refused(fault: str) -> Callable[..., None]:
    """In place of what must not be reached, or does not work."""

    def refuse(*_: object, **__: object) -> None:
        raise BundleError(fault)

    return refuse
