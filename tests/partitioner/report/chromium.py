"""Headless Chromium over its debugging pipe: no driver, no port, no dependency.

Messages are JSON objects that end in a zero byte; the browser reads them from descriptor 3 and
writes them to descriptor 4 (Chrome DevTools Protocol).
"""

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 30.0  # a hang becomes a failure; no test waits for it to pass

__all__ = ["Browser", "Page", "find_chromium"]


def find_chromium() -> str | None:
    """The command, if it is installed."""
    names = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


class Browser:
    """A running browser with a profile of its own; killed when the context ends."""

    def __init__(self, command: str, profile: Path) -> None:
        self._read, theirs_out = os.pipe()
        theirs_in, self._write = os.pipe()
        # The shell gives the two ends the numbers that the browser expects.
        self._process = subprocess.Popen(
            [
                "bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", command,
                *_flags(profile),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._rest = b""
        self._last_id = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)
        os.close(self._read)
        os.close(self._write)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command and its result; what happened meanwhile goes to `events`."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last_id:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def page(self) -> "Page":
        """A new page."""
        return Page(self)

    def await_event(self, method: str, session: str, seen: int) -> None:
        """Until a page reports `method` after the first `seen` events."""
        while not any(_is(event, method, session) for event in self.events[seen:]):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        last_s = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, last_s - time.monotonic()))
            assert ready, f"chromium said nothing for {PATIENCE_S:g} s"
            more = os.read(self._read, 1 << 16)
            assert more, "chromium ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded


class Page:
    """One page; records its requests and its complaints from the beginning."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command for this page."""
        return self._browser.call(method, self._session, **parameters)

    def open(self, url: str) -> Self:
        """Load a page and wait until its scripts ran."""
        seen = len(self._browser.events)
        self.call("Page.navigate", url=url)
        self._browser.await_event("Page.loadEventFired", self._session, seen)
        return self

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def drawn(self) -> None:
        """Until the page has shown what it was told."""
        self.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def press(self, key: str, *, code: int, times: int = 1) -> None:
        """Press a key on whatever has the focus; `code` is its Windows virtual key code."""
        for _ in range(times):
            for kind in ("rawKeyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent",
                    type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                )  # fmt: skip
        self.drawn()

    def size(self, width: int, height: int) -> None:
        """Show it on a screen of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.drawn()

    def requested(self) -> list[str]:
        """Addresses that the page asked for, answered or not."""
        return [
            event["params"]["request"]["url"] for event in self._own("Network.requestWillBeSent")
        ]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, and exceptions that nobody caught."""
        said = [
            event["params"]["entry"]["text"]
            for event in self._own("Log.entryAdded")
            if event["params"]["entry"]["level"] in {"error", "warning"}
        ]
        said += [
            str(event["params"]["args"])
            for event in self._own("Runtime.consoleAPICalled")
            if event["params"]["type"] in {"error", "warning", "assert"}
        ]
        return said + [str(event["params"]) for event in self._own("Runtime.exceptionThrown")]

    def _own(self, method: str) -> list[dict[str, Any]]:
        self.call("Runtime.evaluate", expression="0")  # whatever came before it is here now
        return [e for e in self._browser.events if _is(e, method, self._session)]


def _is(event: dict[str, Any], method: str, session: str) -> bool:
    return event.get("method") == method and event.get("sessionId") == session


def _flags(profile: Path) -> list[str]:
    flags = [
        "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}",
        "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    # The browser's sandbox cannot be had by root, which is who runs tests in a container.
    return [*flags, "--no-sandbox"] if os.geteuid() == 0 else flags
