"""An installed Chromium without a window, spoken to over the DevTools protocol through two pipes: no driver, no package."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)  # without a sandbox, which needs rights that containers lack: the page under test is ours


class Page:
    """One tab. `seen` holds the events that came: console messages, exceptions and requests among them."""

    def __init__(self, replies: int, commands: int) -> None:
        self._replies, self._commands = replies, commands
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.seen: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            block = os.read(self._replies, 1 << 16)
            assert block, "the browser closed"
            self._buffer += block
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol; events that come before it are kept."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        asked = {"id": self._number, "method": method, "params": parameters} | session
        os.write(self._commands, json.dumps(asked).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self.seen.append(message)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def open(self, path: Path, width: int, dark: bool = False, height: int = 900) -> None:
        """Load a file in a window `width` pixels wide and wait until it is complete, pictures too."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.seen.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.seen):
            self.seen.append(self._message())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is on the page."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened, its own among them."""
        asked = [event for event in self.seen if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in asked]

    def complaints(self) -> list[dict[str, Any]]:
        """Console messages, uncaught exceptions and what the browser logged of the page."""
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.seen if event.get("method") in names]


@contextmanager
def page() -> Iterator[Page]:
    """A tab in a browser of its own, which ends with it."""
    assert PROGRAM
    (their_input, commands), (replies, their_output) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        browser = subprocess.Popen(  # the protocol's pipes are descriptors 3 and 4
            ["bash", "-c", f'exec "$@" 3<&{their_input} 4>&{their_output}', "bash", *command],
            pass_fds=(their_input, their_output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(their_input)
        os.close(their_output)
        try:
            yield Page(replies, commands)
        finally:
            browser.terminate()
            browser.wait(30)
            os.close(commands)
            os.close(replies)
