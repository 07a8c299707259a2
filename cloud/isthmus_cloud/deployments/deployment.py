"""One version of one model, ready to answer."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from isthmus import Bundle, max_frame_bytes, open_bundle
from isthmus.v1 import PROTOCOL
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.answerer import Answerer
from isthmus_cloud.answering.desk import Desk
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.audits.auditing import Auditor, auditing
from isthmus_cloud.store.shelf import PUSH_AGAIN

SHORT = 12  # digits of a fingerprint that people compare

# Tails by cut id as long as the context lasts, of a bundle that is this model and version.
TailSource = Callable[[Bundle, tuple[str, str]], AbstractContextManager[Mapping[str, Tail]]]

__all__ = ["Deployment", "Loader", "TailSource", "deployed"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Deployment:
    """A bundle with its tails. `terms` is the Welcome of every session of it: fingerprint, window
    and the rest."""

    name: str
    version: str
    bundle: Bundle
    answerer: Answerer
    auditor: Auditor
    terms: pb.Welcome
    closing: ExitStack = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The bundle's."""
        return self.bundle.fingerprint

    def close(self) -> None:
        """Let go of tails and threads; no frame of it is under way. May block for a moment."""
        self.closing.close()


def deployed(
    bundle: Bundle,
    tails: Mapping[str, Tail],
    desk: Desk,
    *,
    name: str = "",
    version: str = "",
    window: int = 8,
) -> Deployment:
    """A deployment of tails that are loaded; on the event loop."""
    name = name or bundle.manifest.model_name
    version = version or bundle.fingerprint[:SHORT]
    answerer = Answerer(bundle.manifest, tails, desk)
    with ExitStack() as undo:
        undo.callback(desk.forget, tails.values())
        audits = auditing(bundle, desk.quiet, desk.limits.max_bytes_in_flight)
        auditor = undo.enter_context(audits)
        terms = pb.Welcome(
            protocol=PROTOCOL,
            bundle_fingerprint=bundle.fingerprint,
            window=window,
            max_frame_bytes=max_frame_bytes(bundle.manifest),
            provider=answerer.provider,
            model=name,
            version=version,
        )
        return Deployment(
            name=name,
            version=version,
            bundle=bundle,
            answerer=answerer,
            auditor=auditor,
            terms=terms,
            closing=undo.pop_all(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Makes deployments of bundles, all on one desk; `tails_of` may block, and is not called on the
    loop."""

    desk: Desk
    tails_of: TailSource
    window: int

    async def load(self, folder: Path, name: str = "", version: str = "") -> Deployment:
        """Check every file, load and measure all tails, off the loop; without a name the model's,
        and then it is of no store.

        Raises BundleError, ModelError or ConfigError; nothing is left behind then.
        """
        way_out = (PUSH_AGAIN,) if name else ()
        bundle = await asyncio.to_thread(open_bundle, folder, "cloud", *way_out)
        name = name or bundle.manifest.model_name
        version = version or bundle.fingerprint[:SHORT]
        with ExitStack() as undo:
            tails = await asyncio.to_thread(
                undo.enter_context, self.tails_of(bundle, (name, version))
            )
            deployment = deployed(
                bundle, tails, self.desk, name=name, version=version, window=self.window
            )
            undo.push(deployment.closing)  # so that tails close behind what uses them
            return replace(deployment, closing=undo.pop_all())
