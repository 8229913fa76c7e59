"""The pictures of the web page in docs/app.md, taken in Debian's Chromium by playwright.

    python examples/app_pictures.py

They go to docs/pictures: before and after, on a desk and on a telephone; the last in the dark.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}


def main() -> int:
    command = [sys.executable, "-m", "physgan", "app", "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        sync_playwright() as playwright,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        for name, (width, height) in WIDTHS.items():
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="light" if name == "wide" else "dark",
            )
            page.goto(address)
            page.locator("#examples img").last.wait_for()
            for when in ("before", "after"):
                if when == "after":
                    page.locator("#examples button.thumbnail-item").first.click()
                    expect(page.locator("#told")).to_contain_text("restored.", timeout=120_000)
                    expect(page.locator("#compared img")).to_have_count(2)
                page.wait_for_timeout(1500)
                page.screenshot(path=PICTURES / f"app-{name}-{when}.jpg", type="jpeg", quality=72)
            page.close()
        browser.close()
        process.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
