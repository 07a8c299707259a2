"""A web server on a thread of its own, so that a browser can be driven from the test's."""

import asyncio
import shutil
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import pytest
from tests.commands import PATIENCE_S
from tests.partitioner.report.chromium import Browser, Page, find_chromium

from isthmus.web import Feed, Route, WebConfig, WebServer

__all__ = ["WebThread", "a_browser", "shown", "text_of"]


@contextmanager
def a_browser(factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium; the test is skipped where there is none."""
    command = find_chromium()
    if command is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    profile = factory.mktemp("chromium")
    with Browser(command, profile) as browser:
        yield browser
    shutil.rmtree(profile, ignore_errors=True)


def shown(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression is true in the page."""
    is_so = page.evaluate(
        f"(async () => {{ const last = Date.now() + {1000 * PATIENCE_S:.0f};"
        f" while (!({expression})) {{ if (Date.now() > last) return false;"
        " await new Promise((go) => setTimeout(go, 10)) } return true })()"
    )
    assert is_so, f"not within {PATIENCE_S:g} s: {expression}\n{text_of(page)}"


def text_of(page: Page, selector: str = "body") -> str:
    """What a reader sees of an element."""
    return str(page.evaluate(f"document.querySelector({selector!r}).innerText"))


class WebThread:
    """Serves `routes` while the context lasts; it can be ended and begun again at its address."""

    def __init__(self, routes: Mapping[str, Route], config: WebConfig | None = None) -> None:
        self._routes = routes
        self._config = config or WebConfig(listen="127.0.0.1:0")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: WebServer | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def begin(self, token: str | None = None) -> None:
        """Listen; the second time where it was, perhaps with another token."""
        listen = self.url.removeprefix("http://") or self._config.listen
        config = replace(self._config, listen=listen, token=token or self._config.token)
        self._server = WebServer(config, self._routes)
        self._wait_for(self._server.start())
        self.url = self._server.addresses[0]

    def end(self) -> None:
        """Stop."""
        if self._server is not None:
            self._wait_for(self._server.stop())
            self._server = None

    @property
    def watchers(self) -> int:
        """How many look at `/events`."""
        feed = self._routes["/events"].gives
        assert isinstance(feed, Feed)
        return feed.watchers

    def _wait_for(self, doing: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(doing, self._loop).result(PATIENCE_S)
