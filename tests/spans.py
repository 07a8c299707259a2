"""OpenTelemetry spans that are kept in memory, and the trees that they make."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

__all__ = ["Kept", "application_spans", "only", "tree"]


class Kept:
    """A tracer provider of the test's own, and what it has recorded."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.provider = provider or TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return list(self._exporter.get_finished_spans())

    def clear(self) -> None:
        """Forget them."""
        self._exporter.clear()


@cache
def _of_the_process() -> Kept:
    """OpenTelemetry lets a process set its tracer provider once."""
    kept = Kept()
    trace.set_tracer_provider(kept.provider)
    return kept


@contextmanager
def application_spans() -> Iterator[Kept]:
    """This process is an application that has set up OpenTelemetry."""
    kept = _of_the_process()
    kept.clear()
    yield kept
    kept.clear()


def only(spans: Iterable[ReadableSpan], name: str) -> ReadableSpan:
    """The one span of this name."""
    (found,) = (each for each in spans if each.name == name)
    return found


def tree(spans: Iterable[ReadableSpan]) -> dict[str, list[str]]:
    """Names of the children of each span that has some, by their begin; "" has the roots.

    Every span must be of the same trace, and every parent but a root's among them.
    """
    known = {each.context.span_id: each for each in spans}
    assert len({each.context.trace_id for each in known.values()}) == 1
    found: dict[str, list[str]] = {}
    for each in sorted(known.values(), key=lambda span: span.start_time or 0):
        parent = "" if each.parent is None else known[each.parent.span_id].name
        found.setdefault(parent, []).append(each.name)
    return found
