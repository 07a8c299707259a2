"""The tails of a bundle, loaded, compared with its manifest, warmed and measured."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from isthmus import Bundle, BundleError, ConfigError, ModelError
from isthmus_cloud.answering.feeds import blank_feeds
from isthmus_cloud.answering.parts import Part, Tail, tails_of
from isthmus_cloud.engines.batch_times import SIZES, UNMEASURED, BatchTimes, measured
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.seam import AnyArray, Engine, Value, type_name

__all__ = ["LocalTails", "load_tails"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTails:
    """Tails in this process: `open_engine` gives each bundle its engine; those that share `cores`
    are measured on their share."""

    open_engine: Callable[[Bundle], Engine]
    cores: Cores
    max_batch: int
    announce: Callable[[str], None]

    @contextmanager
    def __call__(self, bundle: Bundle, version: tuple[str, str]) -> Iterator[Mapping[str, Tail]]:
        """See `load_tails`; the engine closes with the context."""
        with closing(self.open_engine(bundle)) as engine:
            yield load_tails(bundle, engine, self.max_batch, self.announce, version, self.cores)


def load_tails(
    bundle: Bundle,
    engine: Engine,
    max_batch: int,
    announce: Callable[[str], None],
    version: tuple[str, str] = ("", ""),
    cores: Cores | None = None,
) -> Mapping[str, Tail]:
    """Ready, warm tails by cut id; one line of progress for each. Takes seconds: not on a loop.

    `version` is the deployment's model and version. Batches grow while all workers are busy, so
    they are measured as they run then: on their share of `cores`.

    A part that several tails share is loaded once. Raises ModelError or BundleError.
    """
    if max_batch < 1:
        raise ConfigError(f"max_batch is {max_batch}; it must be at least 1")
    manifest = bundle.manifest
    files = dict.fromkeys(name for cut in manifest.cuts for name in cut.tail)
    parts = {name: Part(name, engine.load(bundle.file(name))) for name in files}
    cuts = [cut for cut in manifest.cuts if cut.tail]
    plain = tails_of(manifest, engine, parts, max_batch=1)
    for number, cut in enumerate(cuts, 1):
        began = time.perf_counter()
        _check_names(bundle, plain[cut.id])
        _check_answer(bundle, plain[cut.id])
        took_ms = (time.perf_counter() - began) * 1e3
        announce(
            f"tail {number}/{len(cuts)} ready: {cut.id} on {engine.provider}, {took_ms:.0f} ms"
        )
    if manifest.batched and max_batch > 1:
        with nullcontext() if cores is None else cores.run():
            parts = _measured(plain, max_batch)
    return tails_of(manifest, engine, parts, max_batch, *version)


def _check_names(bundle: Bundle, tail: Tail) -> None:
    """What the parts read has crossed or was made, and the entry takes it as the manifest says."""
    feeds = blank_feeds(tail.cut)
    known = set(feeds)
    for part in tail.parts:
        path = bundle.file(part.name)
        missing = [name for name in part.reads if name not in known]
        if missing:
            raise BundleError(
                f"{path}: reads {', '.join(missing)}, which nothing before it makes in the tail "
                f"of {tail.cut.id!r}; build the bundle again"
            )
        for name in part.reads:
            wanted = part.program.inputs[name]
            if name in feeds:
                wanted = type_name(feeds[name].dtype.name)
            if part.program.inputs[name] != wanted:
                raise BundleError(
                    f"{path}: its input {name} is {part.program.inputs[name]}, the manifest says "
                    f"{wanted}; build the bundle again"
                )
        known.update(part.program.outputs)
    lacking = [spec.name for spec in tail.outputs if spec.name not in known]
    if lacking:
        raise BundleError(
            f"{bundle.file(tail.parts[-1].name)}: the tail of {tail.cut.id!r} does not make "
            f"{', '.join(lacking)}; build the bundle again"
        )


def _check_answer(bundle: Bundle, tail: Tail) -> None:
    """One run on zeros: what comes is what the manifest says."""
    where = bundle.file(tail.parts[-1].name)
    try:
        answers = tail.run(_values(blank_feeds(tail.cut)))
    except ModelError as error:  # it may decide on a value for which zero is no answer
        _logger.warning("%s: is checked with its first frame; on zeros: %s", where, error)
        return
    got = [(answer.dtype.name, answer.shape) for answer in answers]
    wanted = [(spec.data_type, spec.graph_shape) for spec in tail.outputs]
    if got != wanted:
        names = ", ".join(spec.name for spec in tail.outputs)
        raise BundleError(
            f"{where}: {names} come as {got}, the manifest says {wanted}; build the bundle again"
        )


def _measured(tails: Mapping[str, Tail], max_batch: int) -> dict[str, Part]:
    """All parts with their times, from runs on zeros; those of short tails first, which are quick
    and so are measured in greater batches, too."""
    programs = {part.name: part.program for tail in tails.values() for part in tail.parts}
    times: dict[str, BatchTimes] = {}
    for tail in sorted(tails.values(), key=lambda tail: len(tail.parts)):
        names = [part.name for part in tail.parts]
        new = [index for index, name in enumerate(names) if name not in times]
        if not new:
            continue
        taken = [part.program.sizes[-1] for part in tail.parts if part.program.sizes]
        sizes = [size for size in SIZES if size <= min([max_batch, *taken])]
        try:
            found = measured(partial(_part_ms, tail, new[-1]), sizes)
        except ModelError as error:
            _logger.warning("%s: is not measured; on zeros: %s", tail.cut.id, error)
            continue
        times |= {names[index]: found[names[index]] for index in new}
    return {
        name: Part(name, program, times.get(name, UNMEASURED)) for name, program in programs.items()
    }


def _part_ms(tail: Tail, last: int, size: int) -> dict[str, float]:
    """What each part up to `last` takes for a batch of zeros, in ms."""
    values = _values(blank_feeds(tail.cut, size))
    took: dict[str, float] = {}
    for part in tail.parts[: last + 1]:
        feeds = {name: values[name] for name in part.reads}
        began = time.perf_counter()
        made = part.program.run(feeds)
        took[part.name] = (time.perf_counter() - began) * 1e3
        values |= zip(part.program.outputs, made, strict=True)
    return took


def _values(arrays: Mapping[str, AnyArray]) -> dict[str, Value]:
    return dict(arrays)
