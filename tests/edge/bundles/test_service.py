"""A fetch from a real service over gRPC: signatures, tokens, and a service that goes or hangs."""

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.cloud.store.serving import Served
from tests.commands import PATIENCE_S
from tests.edge.bundles.services import PIECE_BYTES, device_bytes, files_in, real_service

from isthmus import BundleError, ConfigError, LinkError, PeerError, open_bundle
from isthmus.signing import make_keys, sign_bundle
from isthmus_cloud.faces import bundles as face
from isthmus_cloud.security.identity import Caller, DeniedError, Identity, Role
from isthmus_cloud.store import Store
from isthmus_cloud.store.halves import OpenFile
from isthmus_edge import Credentials
from isthmus_edge.bundles import BundleService, Fetcher, Manner, Shelf, Source, fetch, kept

ONCE = Manner(attempts=1)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "PIECE_BYTES", PIECE_BYTES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def served(store: Store, tiny_bundle: Path) -> Iterator[Served]:
    with real_service(store, {"v1": tiny_bundle}) as served:
        yield served


@pytest.fixture
def source(served: Served) -> Source:
    return Source(model="tiny", cloud=served.address)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> tuple[Path, Path]:
    """A signed bundle, and the public key."""
    folder = tmp_path_factory.mktemp("signed")
    private, public = make_keys(folder / "keys")
    bundle = shutil.copytree(tiny_bundle, folder / "tiny")
    sign_bundle(bundle, private)
    return bundle, public


def test_a_bundle_comes_and_is_the_last_good_one(
    source: Source, root: Path, tiny_bundle: Path
) -> None:
    fetched = fetch(source, root, ONCE)
    assert (fetched.name, fetched.version) == ("tiny", "v1")
    assert fetched.received_bytes == device_bytes(tiny_bundle)
    assert open_bundle(fetched.path, "device").fingerprint == fetched.fingerprint
    assert kept(source, root) == fetched.path
    assert fetch(source, root, ONCE) == replace(fetched, received_bytes=0)


def test_what_is_kept_needs_no_service(source: Source, root: Path) -> None:
    assert kept(source, root) is None
    path = fetch(source, root, ONCE).path
    away = Source(model="tiny", cloud="127.0.0.1:1")
    assert kept(away, root) == path
    with pytest.raises(LinkError, match="UNAVAILABLE"):
        fetch(away, root, ONCE)
    assert kept(away, root) == path


def test_a_signed_bundle_is_taken_and_its_signature_kept(
    store: Store, root: Path, signed: tuple[Path, Path]
) -> None:
    bundle, public = signed
    with real_service(store, {"v1": bundle}) as served:
        source = Source(model="tiny", cloud=served.address, keys=(public,))
        path = fetch(source, root, ONCE).path
    assert kept(source, root) == path
    (path / "bundle.json.sig").unlink()
    assert kept(source, root) is None


def test_without_a_right_signature_not_a_byte_is_fetched(
    store: Store,
    root: Path,
    tmp_path: Path,
    signed: tuple[Path, Path],
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BundleService, "pieces", lambda *_: pytest.fail("a byte was asked for"))
    with pytest.raises(BundleError, match="not signed"):
        fetch(replace(source, keys=(signed[1],)), root, ONCE)
    _, another = make_keys(tmp_path / "others")
    theirs = real_service(Store(tmp_path / "signed"), {"v1": signed[0]})
    with theirs as served, pytest.raises(BundleError, match="signed by none"):
        fetch(Source(model="tiny", cloud=served.address, keys=(another,)), root, ONCE)
    assert files_in(root) == set()


def test_keys_that_cannot_be_read_are_named_before_anybody_is_asked(root: Path) -> None:
    source = Source(model="tiny", cloud="127.0.0.1:1", keys=(root / "none.pem",))
    with pytest.raises(ConfigError, match=r"none\.pem"):
        fetch(source, root)


def test_a_service_that_is_not_there_is_named_with_the_cause(root: Path) -> None:
    nobody = Source(model="tiny", cloud="127.0.0.1:1")
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:1: .*nothing listens there; start it"):
        fetch(nobody, root, ONCE)


def test_a_model_that_is_not_there_is_named(source: Source, root: Path) -> None:
    with pytest.raises(PeerError, match="other") as caught:
        fetch(replace(source, model="other"), root, ONCE)
    assert caught.value.code == "NOT_FOUND"


def test_a_device_that_is_not_let_in_hears_what_it_lacks(
    store: Store, root: Path, tiny_bundle: Path
) -> None:
    class TokenWanted:
        def admit(self, caller: Caller, role: Role) -> Identity:
            assert role == "device"
            if caller.metadata.get("authorization") != "Bearer mine":
                raise DeniedError("no valid token", "token")
            return Identity(name="pi", role="device")

    with real_service(store, {"v1": tiny_bundle}, TokenWanted()) as served:  # type: ignore[arg-type]
        source = Source(model="tiny", cloud=served.address)
        with pytest.raises(PeerError, match="give this device's token"):
            fetch(source, root, ONCE)
        mine = replace(source, credentials=Credentials(token="mine"))  # noqa: S106 - it opens nothing
        assert fetch(mine, root, ONCE).received_bytes == device_bytes(tiny_bundle)


def test_what_a_service_says_cannot_move_a_terminals_cursor(
    store: Store, root: Path, tiny_bundle: Path
) -> None:
    class Evil:
        def admit(self, caller: Caller, role: Role) -> Identity:
            raise DeniedError("no\n\x1b[2J token", "token")

    with real_service(store, {"v1": tiny_bundle}, Evil()) as served:  # type: ignore[arg-type]
        source = Source(model="tiny", cloud=served.address)
        with pytest.raises(PeerError, match=r"no\?\?\[2J token; give this device's token"):
            fetch(source, root, ONCE)


def test_a_service_that_goes_in_the_middle_is_gone_on_with(
    tmp_path: Path, root: Path, tiny_bundle: Path
) -> None:
    stop = threading.Event()

    def end_it(share: float, _what: str) -> None:
        if share > 0.3:
            stop.set()
            assert gone.wait(PATIENCE_S)

    gone = threading.Event()
    shelf = Shelf(root, "tiny")
    received: list[int] = []

    def try_it(address: str) -> None:
        source = Source(model="tiny", cloud=address)
        with Fetcher(source, shelf, Manner(attempts=1, progress=end_it)) as fetching:
            offer = fetching.look()
            with pytest.raises(LinkError):
                fetching.bring(offer)
            received.append(fetching.received_bytes)

    with real_service(Store(tmp_path / "first"), {"v1": tiny_bundle}) as served:
        device = threading.Thread(target=try_it, args=(served.address,))
        device.start()
        assert stop.wait(PATIENCE_S)
    gone.set()
    device.join(PATIENCE_S)
    assert 0 < received[0] < device_bytes(tiny_bundle)
    with real_service(Store(tmp_path / "second"), {"v1": tiny_bundle}) as served:
        fetched = fetch(Source(model="tiny", cloud=served.address), root, ONCE)
    assert fetched.received_bytes == device_bytes(tiny_bundle) - received[0]


def test_a_service_that_hangs_is_left_alone(
    source: Source, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(OpenFile, "read", lambda *_: let_go.wait(PATIENCE_S) and b"")
    impatient = partial(BundleService, credentials=Credentials(), call_s=0.3)
    with Fetcher(source, Shelf(root, "tiny"), ONCE, impatient) as fetching:
        offer = fetching.look()
        with pytest.raises(LinkError, match="DEADLINE_EXCEEDED"):
            fetching.bring(offer)
    let_go.set()


def test_ending_a_fetch_ends_a_call_that_hangs(
    source: Source, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, begun = threading.Event(), threading.Event()

    def hang(*_: object) -> bytes:
        begun.set()
        let_go.wait(PATIENCE_S)
        return b""

    monkeypatch.setattr(OpenFile, "read", hang)
    with Fetcher(source, Shelf(root, "tiny"), ONCE) as fetching:
        offer = fetching.look()

        def end() -> None:
            assert begun.wait(PATIENCE_S)
            fetching.end()

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(LinkError):
            fetching.bring(offer)
        ending.join()
    let_go.set()


@pytest.mark.parametrize("thread", [threading.main_thread, threading.current_thread])
def test_ctrl_c_ends_a_fetch_and_its_thread(
    thread: Callable[[], threading.Thread],
    source: Source,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever thread the signal comes to: of those only the main one's waits end by it."""
    ended, end, heard = threading.Event(), Fetcher.end, list[bool]()

    def noted(fetcher: Fetcher) -> None:
        ended.set()
        end(fetcher)

    def interrupt(_share: float, _what: str) -> None:
        if not ended.is_set():
            signal.pthread_kill(thread().ident or 0, signal.SIGINT)
            heard.append(ended.wait(PATIENCE_S))

    monkeypatch.setattr(Fetcher, "end", noted)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, root, Manner(attempts=1, progress=interrupt))
    assert heard == [True]
    assert "isthmus-fetch" not in [thread.name for thread in threading.enumerate()]
    assert kept(source, root) is None


@pytest.mark.parametrize("cloud", ["cloud.example:50051", "dns:cloud.example:50051"])
def test_beyond_this_machine_plain_text_needs_the_word(cloud: str) -> None:
    with pytest.raises(ConfigError, match="allow plain text"):
        Source(model="tiny", cloud=cloud)
    assert Source(model="tiny", cloud=cloud, insecure=True).targets[0].port == 50051
