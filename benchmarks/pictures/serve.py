"""The pictures of the walk: `zoovet serve` in a headless Chromium, with the network that the walk trains.

    python docs/walk/poison.py suspect
    python benchmarks/pictures/serve.py suspect docs/pictures

Scans and heals on the page, at 1280 and 390 pixels, and says how long it took. Fails where the browser's console says
anything.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LONG = 1_800_000
"""Milliseconds that a scan may take on a busy machine."""


def main(files: Path, out: Path) -> None:
    """Take the pictures."""
    with serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        take(browser, address, files, out)
        browser.close()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A server with a folder of its own; its address."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "zoovet", "serve", "--port", "0", "--data", data]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            found = next(filter(None, (re.search(r"http://\S+", line) for line in server.stdout)))
            yield found[0]
            server.terminate()


def take(browser: Browser, address: str, files: Path, out: Path) -> None:
    """Scan and heal, and look on."""
    page = browser.new_page(viewport=WIDE)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(address)
    page.get_by_label("Weight file").set_input_files(files / "suspect.onnx")
    page.get_by_label("Folder of class folders").set_input_files(files / "photos")
    kept(page, out, "form")
    start = time.monotonic()
    page.get_by_role("button", name="Scan", exact=True).click()
    page.get_by_role("heading", name="trojaned suspect.onnx").wait_for(timeout=LONG)
    print(f"from Scan to the verdict: {time.monotonic() - start:.0f} s")
    kept(page, out, "verdict", above="Which class it leads to")
    start = time.monotonic()
    page.get_by_role("button", name="Heal this network").click()
    page.get_by_role("heading", name=re.compile("^(Healed|Edited)")).wait_for(timeout=LONG)
    print(f"from Heal to the healed file: {time.monotonic() - start:.0f} s")
    kept(page, out, "healed", above="The trigger that was found")
    if said:
        raise SystemExit(f"the console says: {said}")


def kept(page: Page, out: Path, name: str, above: str | None = None) -> None:
    """A picture of a page on both screens, down to a heading."""
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        page.wait_for_timeout(300)
        height = page.evaluate("document.documentElement.scrollHeight")
        if above is not None:
            box = page.get_by_role("heading", name=above).bounding_box()
            assert box is not None
            height = box["y"] + page.evaluate("scrollY") - 30
        area = {"x": 0, "y": 0, "width": size["width"], "height": height}
        page.screenshot(path=out / f"serve-{size['width']}-{name}.png", full_page=True, clip=area)
    page.set_viewport_size(WIDE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
