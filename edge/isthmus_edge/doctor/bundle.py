"""A bundle on this machine: whether it is whole, can be decoded, loaded, and held in memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from isthmus import Bundle, BundleError, Chain, IsthmusError, Manifest, Picture, PictureFormat
from isthmus.bundle import open_bundle
from isthmus.pictures import decode_picture, encode_picture
from isthmus_edge.control_group import available_memory_bytes
from isthmus_edge.doctor.child import ChildError
from isthmus_edge.doctor.finding import Finding, fail, note, told_apart, warn
from isthmus_edge.doctor.memory import MIB
from isthmus_edge.doctor.runtimes import RuntimeTrials
from isthmus_edge.doctor.surroundings import Surroundings
from isthmus_edge.doctor.trial import Loading
from isthmus_edge.runtimes import EXTRAS, RuntimeName

_TRIED_SIDE, _TRIED_QUALITY = 32, 80
_BUILD = "build the bundle again"
_COPY = "copy the bundle again, or build it again with `isthmus build`"
_OPEN = "let this user read it: chown, or chmod -R a+rX"

TryFormat = Callable[[PictureFormat], None]
Uncovered = dict[tuple[Chain, str], str]  # why nothing here runs a segment of a chain, by its file

__all__ = ["BundleLook", "try_format"]


def try_format(picture_format: PictureFormat) -> None:
    """Write a small picture and read it again; an IsthmusError if one of it fails."""
    picture = np.zeros((_TRIED_SIDE, _TRIED_SIDE, 3), np.uint8)
    payload = encode_picture(picture, picture_format, _TRIED_QUALITY)
    decode_picture(payload, picture_format, _TRIED_SIDE, _TRIED_SIDE)


def _own_bytes() -> int:
    """What Python with the packages of a device takes."""
    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLook:
    """Looks at the bundle in `path`; with `is_quick`, nothing of it is loaded."""

    path: Path
    trials: RuntimeTrials
    around: Surroundings = field(default_factory=Surroundings)
    is_quick: bool = False
    try_format: TryFormat = try_format
    own_bytes: Callable[[], int] = _own_bytes

    def look(self) -> Iterator[Finding]:
        """Findings in the order in which an agent would need them."""
        try:
            bundle = open_bundle(self.path, "device")
            closed = self._closed_tails(bundle.manifest)
        except BundleError as error:
            yield _unread(error)
            return
        manifest = bundle.manifest
        yield _whole(bundle, closed)
        yield from self._formats(manifest)
        yield from self._missed(manifest)
        memory = self._memory(manifest)
        yield memory
        if memory.state != "fail" and not self.is_quick:
            yield from self._segments(manifest)

    def _closed_tails(self, manifest: Manifest) -> str | None:
        """The cloud's part must be whole, too, if any of it is here: BundleError if it is not.

        A device has no need of it, so it may be closed to this user: then why it cannot be read.
        """
        tails = [self.path / entry.path for entry in manifest.files if entry.side == "cloud"]
        try:
            if any(map(_is_there, tails)):
                open_bundle(self.path, "cloud")
        except PermissionError as error:
            return f"{error.filename}: {error.strerror}"
        except BundleError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            return told_apart(error)[0]
        return None

    def _formats(self, manifest: Manifest) -> Iterator[Finding]:
        encodings = {
            encoding.format
            for candidate in manifest.kept
            for rung in candidate.rungs
            for encoding in rung.encodings
            if isinstance(encoding, Picture)
        }
        for picture_format in sorted(encodings):
            try:
                self.try_format(picture_format)
            except IsthmusError as error:
                text = f"{picture_format} pictures are in the plan: {error}"
                yield fail("bundle.formats", text, "pip install --upgrade 'pillow>=11.3'")
        if encodings:
            listed = ", ".join(sorted(encodings))
            yield note("bundle.formats", f"in the plan: {listed}", formats=sorted(encodings))

    def _memory(self, manifest: Manifest) -> Finding:
        chain = manifest.chain_of(manifest.cut_of(manifest.local))
        sizes = {entry.path: entry.size_bytes for entry in manifest.files}
        files = (segment.file for segment in chain.segments)
        weights = sum(sizes[file] + sizes.get(f"{file}.data", 0) for file in files)
        measured = manifest.local.figures.memory_bytes
        own, free = self.own_bytes(), available_memory_bytes(self.around)
        need = own + (measured or weights)
        source = "measured for the plan" if measured else "at least: the weights alone"
        text = (
            f"all heads and the rest take {(measured or weights) / MIB:,.1f} MiB ({source}), "
            f"Python {own / MIB:,.0f}; "
        )
        figures = {"needed_bytes": need, "available_bytes": free, "is_measured": measured > 0}
        if free is None:
            text += "this system does not tell what can be had"
            return note("bundle.memory", text, **figures)
        text += f"{free / MIB:,.0f} MiB can be had"
        way_out = (
            "give it more (MemoryMax=, docker --memory), end other programs, or let the agent "
            "take less: --max-memory"
        )
        if need > free:
            return fail("bundle.memory", f"{text}: too little", way_out, **figures)
        if need > free / 2:
            return warn("bundle.memory", f"{text}: little is left for anything else", way_out)
        return note("bundle.memory", text, **figures)

    @property
    def _names(self) -> Sequence[RuntimeName]:
        """The runtimes that are here, and work as far as that was tried."""
        names = self.trials.working
        return self.trials.installed() if names is None else names

    def _missed(self, manifest: Manifest) -> Iterator[Finding]:
        """Where the plan's times are those of a runtime that is not here, or does not work."""
        names = self._names
        used = {manifest.cut_of(each).chain for each in (manifest.local, *manifest.kept)}
        for chain in manifest.chains:
            if chain.id not in used or chain.runtime in names or not names:
                continue
            is_here = chain.runtime in self.trials.installed()
            what = "does not work" if is_here else "is not"
            text = f"{chain.runtime} {what} here, which the plan chose for chain {chain.id!r}: "
            text += "another one runs it, and the times of the plan are not those of this device"
            install = f"pip install '{EXTRAS[chain.runtime]}'"
            way_out = "look at the line `runtimes`" if is_here else install
            way_out += ", or plan with a profile of this device"
            yield warn("bundle.runtime", text, way_out, runtime=chain.runtime, chain=chain.id)

    def _segments(self, manifest: Manifest) -> Iterator[Finding]:
        """Each runtime loads what it can; what none of them can run is a failure."""
        count = len({segment.file for chain in manifest.chains for segment in chain.segments})
        uncovered: Uncovered = {
            (chain, segment.file): "no runtime that works is here"
            for chain in manifest.chains
            for segment in chain.segments
        }
        for name in self._names:
            try:
                found = self.trials.child.ask(Loading, ["bundle", name, str(self.path)])
            except ChildError as error:
                way_out = "look at the line `runtimes`; install another runtime"
                yield fail("bundle.segments", f"{name} cannot load them: {error}", way_out)
                continue
            yield _loaded(name, found, count)
            reasons = {place: _reason(*place, name, found) for place in uncovered}
            uncovered = {place: reason for place, reason in reasons.items() if reason is not None}
        if uncovered:
            yield _unloaded(manifest, uncovered, count, self._cover)

    @property
    def _cover(self) -> str:
        """The way out where segments run nowhere; never a second wheel of ONNX Runtime."""
        install = f"pip install '{EXTRAS['onnxruntime']}'"
        if "onnxruntime" in self.trials.installed():
            install = "install a newer release of the runtime that is here"
        return f"{install}, or build the bundle for the runtime that is here"


def _is_there(path: Path) -> bool:
    """PermissionError if this user may not know."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _unread(error: BundleError) -> Finding:
    text, way_out = told_apart(error)
    if isinstance(error.__cause__, PermissionError):
        way_out = _OPEN
    elif way_out == _BUILD:  # what cannot be read at all: most often a copy that was cut off
        way_out = _COPY
    return fail("bundle.files", text, way_out)


def _whole(bundle: Bundle, closed_tails: str | None) -> Finding:
    manifest, fingerprint = bundle.manifest, bundle.fingerprint
    text = f", {len(manifest.kept)} candidates, fingerprint {fingerprint[:12]}"
    if closed_tails is None:
        text = f"{manifest.model_name}: whole, {len(manifest.files)} files{text}"
        return note("bundle.files", text, fingerprint=fingerprint)
    text = f"{manifest.model_name}: the device's part is whole{text}; {closed_tails}"
    text += ": a device does without the tails, a service does not"
    return warn("bundle.files", text, _OPEN, fingerprint=fingerprint)


def _reason(chain: Chain, file: str, name: RuntimeName, found: Loading) -> str | None:
    """Why a runtime does not run a segment of a chain; None where it does."""
    if file in found.refused:
        return found.refused[file]
    if name not in chain.unfit:
        return None
    unfit = "the plan found that its answers are not those of its figures"
    return f"{name}: {unfit} (--runtime {name} insists)"


def _unloaded(manifest: Manifest, reasons: Uncovered, count: int, way_out: str) -> Finding:
    """Some segments run nowhere: an agent goes without their chains, but not without `local`'s."""
    (_, file), reason = next(iter(reasons.items()))
    text = f"{len({file for _, file in reasons})} of {count} segments are run by no runtime here; "
    text += reason if reason.startswith(file) else f"{file}: {reason}"
    lame = {chain.id for chain, _ in reasons}
    if manifest.cut_of(manifest.local).chain in lame:
        return fail("bundle.segments", text, way_out)
    left = [each for each in manifest.kept if manifest.cut_of(each).chain not in lame]
    text += f": an agent has {len(left)} of {len(manifest.kept)} candidates"
    return warn("bundle.segments", text, way_out, candidates=len(left))


def _loaded(name: RuntimeName, found: Loading, count: int) -> Finding:
    text = f"{name} loads {found.loaded} of {count} segments"
    if found.loaded:
        text += f" in {found.load_ms:.0f} ms and {found.grown_bytes / MIB:,.0f} MiB"
    if found.refused:
        text += f"; not: {next(iter(found.refused.values()))}"
    return note(
        "bundle.segments",
        text,
        runtime=name,
        loaded=found.loaded,
        segments=count,
        load_ms=round(found.load_ms, 1),
        grown_bytes=found.grown_bytes,
    )
