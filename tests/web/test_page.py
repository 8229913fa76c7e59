"""The page in a real browser: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import os
import re
import shutil
import signal
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    Download,
    FileChooser,
    FilePayload,
    Page,
    expect,
    sync_playwright,
)

from physgan.restore.restorer import Restorer
from physgan.web.page import ABOUT, EXAMPLES, WRONG
from physgan.weights.catalogue import SHIPPED
from tests.web.serving import app, picture

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
    # Sockets and loops of playwright, closed when it ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, float]]:
    """Address, and seconds of a processor until it could be had."""
    with app() as (address, process):
        ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
        yield address, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, served: tuple[str, float]) -> Iterator[Page]:
    """The page, opened; at the end nothing was asked of anybody but our server."""
    address, asked, complaints = served[0], list[str](), list[str]()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    context.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.get_by_role("button", name="Restore").wait_for()
    yield page
    context.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []


def give(page: Page, *files: tuple[str, bytes]) -> None:
    """Gives the page files to upload, and waits until they are."""
    kind = "application/octet-stream"
    page.locator("input[type=file]").set_input_files(
        [FilePayload(name=name, mimeType=kind, buffer=content) for name, content in files]
    )
    for name, _ in files:
        expect(page.locator(".file-preview")).to_contain_text(Path(name).stem)


def choose(page: Page, task: str, *files: tuple[str, bytes]) -> None:
    """Gives files and says what is wrong with them."""
    give(page, *files)
    page.get_by_role("radio", name=WRONG[task]).check()


def downloaded(page: Page, name: str) -> Download:
    with page.expect_download() as download:
        page.get_by_role("link", name=name).or_(page.get_by_role("button", name=name)).click()
    return download.value


def test_up_within_ten_seconds(served: tuple[str, float]) -> None:
    # Seconds of a processor: those of a clock are the other tests' too.
    assert served[1] < 10


@pytest.mark.parametrize("task", sorted(SHIPPED))
def test_an_example_of_each_is_restored_by_a_click(page: Page, task: str) -> None:
    examples = [path.stem for path in sorted(EXAMPLES.iterdir()) if path.stem in SHIPPED]
    assert task in examples
    page.get_by_role("button", name=f"Example: {WRONG[task]}", exact=True).click()
    expect(page.locator("#told")).to_contain_text(f"{task}.jpg restored.", timeout=120_000)
    expect(page.locator("#compared img")).to_have_count(2)
    expect(page.locator("#about")).to_contain_text("Licence of the weights")


def test_a_picture_comes_back_with_its_metadata(page: Page, tmp_path: Path) -> None:
    content = BytesIO()
    with Image.open(BytesIO(picture(70, 90))) as image:
        image.save(content, "PNG", dpi=(300, 300))
    (tmp_path / "Ärger 1.png").write_bytes(content.getvalue())
    choose(page, "derain", ("Ärger 1.png", content.getvalue()))
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#told")).to_contain_text("restored.", timeout=60_000)
    download = downloaded(page, "Download Ärger 1.png")
    assert download.suggested_filename == "Ärger 1.png"
    restorer = Restorer.from_pretrained("derain", device="cpu")
    restorer.restore_file(tmp_path / "Ärger 1.png", tmp_path / "b.png")
    assert Path(download.path()).read_bytes() == (tmp_path / "b.png").read_bytes()


def test_many_pictures_good_and_bad(page: Page) -> None:
    good = [(f"{number}.png", picture(40, 50, seed=number)) for number in range(3)]
    # What is cut short is found out later than what is none, and told of in its turn.
    bad = [("cut.png", picture(90, 90)[:3000]), ("notes.png", b"no picture"), ("0.PNG", b"")]
    choose(page, "derain", *bad, *good)
    page.get_by_role("button", name="Restore").click()
    told = page.locator("#told")
    expect(told).to_contain_text("3 pictures restored. 3 were not.", timeout=60_000)
    expect(told.get_by_role("list").get_by_role("listitem")).to_have_text(
        [re.compile(f"'{re.escape(name)}'") for name, _ in bad]
    )
    expect(told.get_by_role("alert")).not_to_contain_text("/tmp")
    page.get_by_label("Picture", exact=True).click()
    page.get_by_role("option", name="2.png").click()
    assert downloaded(page, "Download 2.png").suggested_filename == "2.png"
    archive = downloaded(page, "Download all 3 as ZIP")
    with zipfile.ZipFile(archive.path()) as opened:
        assert opened.namelist() == ["0.png", "1.png", "2.png"]
        assert opened.testzip() is None


def test_before_and_after_by_the_keyboard_and_in_words(page: Page) -> None:
    choose(page, "deblur-text", ("a.png", picture(40, 50)))
    about = page.locator("#about")
    expect(about).to_contain_text("trust no digit and no name")
    expect(about).not_to_contain_text("text_pairs", use_inner_text=True)
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#told")).to_contain_text("restored.", timeout=60_000)
    expect(page.get_by_alt_text("The picture before")).to_have_count(1)
    expect(page.get_by_alt_text("The picture after, restored")).to_have_count(1)
    page.get_by_label("Both, under the slider").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_alt_text("The picture before")).to_have_count(2)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_alt_text("The picture after, restored")).to_have_count(2)


def test_arrow_keys_choose_in_a_group_and_tab_leaves_it(page: Page) -> None:
    radios, kind = page.get_by_role("radio"), "document.activeElement.type"
    unnamed = page.locator("#wrong input:not([name=wrong])")
    expect(radios.nth(0)).to_have_attribute("name", "wrong")  # once the page's script has run
    radios.nth(0).focus()
    for number in (1, 2):
        expect(unnamed).to_have_count(0)
        page.keyboard.press("ArrowDown")
        expect(radios.nth(number)).to_be_checked()
        expect(radios.nth(number)).to_be_focused()
        task = radios.nth(number).get_attribute("value")
        assert task is not None
        expect(page.locator("#about")).to_contain_text(ABOUT[task])  # the server heard of it
    assert page.get_by_role("radio", checked=True).count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate(kind) != "radio"
    page.keyboard.press("Shift+Tab")
    expect(radios.nth(2)).to_be_focused()
    expect(unnamed).to_have_count(0)
    page.keyboard.press("ArrowUp")
    expect(radios.nth(1)).to_be_checked()


def test_an_upload_takes_the_place_of_a_sample(page: Page) -> None:
    expect(page.get_by_test_id("upload-text")).to_contain_text("Drop pictures here")
    page.get_by_role("button", name="Example: Rain").click()
    expect(page.locator("#told")).to_contain_text("derain.jpg restored.", timeout=120_000)
    expect(page.get_by_role("button", name="Add pictures")).to_have_count(1)
    give(page, ("a.png", picture(30, 40)))
    expect(page.locator(".file-preview")).not_to_contain_text("derain")
    give(page, ("b.png", picture(30, 40)))
    expect(page.locator(".file-preview .file")).to_have_count(2)
    page.get_by_role("button", name="Restore", exact=True).click()
    expect(page.locator("#told")).to_contain_text("2 pictures restored.", timeout=60_000)


def test_what_was_restored_goes_with_the_pictures(page: Page) -> None:
    choose(page, "derain", ("a.png", picture(30, 40)), ("notes.png", b"no picture"))
    page.get_by_role("button", name="Restore", exact=True).click()
    expect(page.locator("#told")).to_contain_text("a.png restored.", timeout=60_000)
    expect(page.locator("#compared")).to_be_visible()
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_contain_text("Before and after will be shown here.")
    expect(page.locator("#pictures button").first).to_be_focused()
    expect(page.locator("#told").get_by_role("alert")).to_have_count(0)
    expect(page.locator("#compared")).to_be_hidden()


def test_clear_cancels_what_is_at_work(page: Page) -> None:
    large = photograph(1200, 1000)
    choose(page, "derain", *((f"{letter}.jpg", large) for letter in "abcdefgh"))
    page.get_by_role("button", name="Restore", exact=True).click()
    expect(page.locator("#told progress")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#told")).to_contain_text("h.jpg: cancelled, not restored.", timeout=60_000)


# Of an element's colour, or its border's, to what lies behind it.
CONTRAST = """([selector, what, behind]) => {
    const rgb = (element, name) => getComputedStyle(element)[name].match(/[\\d.]+/g).map(Number);
    const light = colour => {
        const [r, g, b] = colour.slice(0, 3).map(part => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const element = document.querySelector(selector);
    let ground = behind ? element.parentElement : element;
    while (rgb(ground, "backgroundColor")[3] === 0) ground = ground.parentElement;
    const pair = [light(rgb(element, what)), light(rgb(ground, "backgroundColor"))];
    return Math.max(...pair) / Math.min(...pair);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_written_and_what_is_pressed_can_be_seen(
    browser: Browser, served: tuple[str, float], scheme: str
) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    page.goto(served[0])
    page.get_by_role("button", name="Restore", exact=True).wait_for()
    told = {
        name: page.evaluate(CONTRAST, [selector, what, behind])
        for name, selector, what, behind in (
            ("button", "button.primary", "color", False),
            ("hint", "#strength .info-text", "color", True),
            ("or", "[data-testid=upload-text] .or", "color", True),
            ("radio", "#wrong input", "borderTopColor", True),
        )
    }
    context.close()
    assert told.pop("radio") >= 3
    assert min(told.values()) >= 4.5, told


def test_the_api_is_the_apis_with_a_slash_or_without(served: tuple[str, float]) -> None:
    with_slash, without = (httpx.get(f"{served[0]}/api{end}") for end in ("/", ""))
    assert (without.status_code, without.json()) == (with_slash.status_code, with_slash.json())
    assert "/api/docs" in without.json()["detail"]


def test_what_is_missing_is_asked_for(page: Page) -> None:
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#told")).to_contain_text("Choose pictures first.", timeout=30_000)
    give(page, ("a.png", picture(9, 9)))
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#told")).to_contain_text("Say what is wrong", timeout=30_000)


def test_only_restoring_waits_for_the_queue(page: Page) -> None:
    """What is queued just when the answers' stream closes is never answered: gradio's race."""
    page.route("**/gradio_api/queue/**", lambda route: None)  # neither passes nor fails
    give(page, ("a.png", picture(9, 9)))
    page.get_by_role("radio", name=WRONG["derain"]).check()
    expect(page.locator("#about")).to_contain_text("Licence of the weights")
    page.locator("#examples button.thumbnail-item").first.click()
    expect(page.locator(".file-preview")).to_contain_text(".jpg")
    page.unroute_all(behavior="ignoreErrors")


def photograph(height: int, width: int) -> bytes:
    """A JPEG file as large as a camera's."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(content, "JPEG")
    return content.getvalue()


STALLS = """() => {
    window.longest = 0; let last = performance.now();
    const look = now => { window.longest = Math.max(window.longest, now - last); last = now;
                          requestAnimationFrame(look); };
    requestAnimationFrame(look);
}"""


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_photograph_of_twelve_megapixels_does_not_freeze_the_page(page: Page) -> None:
    choose(page, "derain", ("large.jpg", photograph(3000, 4000)))
    page.evaluate(STALLS)
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#told progress")).to_be_visible(timeout=20_000)
    page.wait_for_function(
        "() => { const p = document.querySelector('#told progress'); return p && p.value > 0; }",
        timeout=300_000,
    )
    expect(page.locator("#told")).to_contain_text("large.jpg restored.", timeout=900_000)
    expect(page.locator("#compared img")).to_have_count(2)
    assert page.evaluate("window.longest") < 2000
    with Image.open(downloaded(page, "Download large.jpg").path()) as restored:
        assert restored.size == (4000, 3000)


@pytest.mark.long
def test_cancel(page: Page) -> None:
    # Two are restored at a time: both are when Cancel is pressed, and the third waits.
    large = photograph(3000, 4000)
    choose(page, "derain", ("one.jpg", large), ("two.jpg", large), ("a.png", picture(30, 30)))
    page.get_by_role("button", name="Restore").click()
    page.wait_for_function(
        "() => { const p = document.querySelector('#told progress'); return p && p.value > 0; }",
        timeout=300_000,
    )
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#told")).to_contain_text("Cancelling", timeout=2_000)
    expect(page.locator("#told")).to_contain_text("Cancelled.", timeout=120_000)
    for name in ("one.jpg", "two.jpg", "a.png"):
        expect(page.locator("#told")).to_contain_text(f"{name}: cancelled, not restored.")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    # And the page takes the next.
    page.reload()
    choose(page, "derain", ("a.png", picture(30, 30)))
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#told")).to_contain_text("a.png restored.", timeout=60_000)


def test_a_page_tells_that_its_server_has_gone(browser: Browser) -> None:
    with app() as (address, process):
        page = browser.new_page()
        page.goto(address)
        large = photograph(1200, 1000)
        choose(page, "derain", *((f"{letter}.jpg", large) for letter in "abcd"))
        page.get_by_role("button", name="Restore", exact=True).click()
        bar = page.locator("#told progress")
        expect(bar).to_be_visible(timeout=20_000)
        os.kill(process, signal.SIGKILL)
        told = page.locator("#told")
        expect(told).to_contain_text("does not answer any more", timeout=30_000)
        expect(bar).to_be_hidden()
        expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
        port = address.rpartition(":")[2]
        with app("--port", port):
            expect(told).to_contain_text("is there again", timeout=60_000)
        expect(told).to_contain_text("does not answer any more", timeout=60_000)
        expect(page.locator(".toast-wrap")).to_be_hidden()
        page.close()


def test_by_the_keyboard_alone(page: Page) -> None:
    expect(page.get_by_test_id("upload-text")).to_be_visible()
    focused = "document.activeElement === document.body ? '' : document.activeElement.innerText"
    opened: list[FileChooser] = []
    page.on("filechooser", lambda chooser: opened.append(chooser))
    # Once the page's script has run, it is awake.
    expect(page.get_by_role("radio").nth(0)).to_have_attribute("name", "wrong", timeout=60_000)
    for _ in range(3):  # as a person would: once more, if nothing comes of it
        while "Drop pictures" not in page.evaluate(focused):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_timeout(5000)
        if opened:
            break
    assert opened, "no file can be chosen by the keyboard"
    one = FilePayload(name="a.png", mimeType="image/png", buffer=picture(30, 30))
    opened[0].set_files([one])
    expect(page.locator(".file-preview")).to_contain_text("a", timeout=60_000)
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = "[document.activeElement.tagName, document.activeElement.innerText || '']"
        tag, text = page.evaluate(focus)
        kind = page.evaluate("document.activeElement.type || ''")
        seen.append((tag, kind, text))
        if kind == "radio":
            page.keyboard.press("Space")
        if tag == "BUTTON" and text.strip() == "Restore":
            page.keyboard.press("Enter")
            break
    told = page.locator("#told")
    expect(told).to_be_focused(timeout=30_000)  # rather than nothing, as Restore cannot be pressed
    assert ("INPUT", "radio") in [(tag, kind) for tag, kind, _ in seen]
    expect(told).to_contain_text("a.png restored.", timeout=60_000)
    expect(told).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_widths_and_schemes(
    browser: Browser, served: tuple[str, float], scheme: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(served[0])
    page.get_by_role("button", name="Restore").wait_for()
    labels = page.locator("#examples .caption-label")
    expect(labels.first).to_be_visible()
    cut = "labels => labels.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    assert labels.evaluate_all(cut) == []
    page.locator("#examples button.thumbnail-item").first.click()
    expect(page.get_by_role("button", name="Cancel")).to_be_in_viewport(timeout=60_000)
    expect(page.locator("#told")).to_contain_text("restored.", timeout=120_000)
    expect(page.locator("#compared img")).to_have_count(2)
    expect(page.locator("#told")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shade = page.evaluate("getComputedStyle(document.querySelector('.gradio-container')).color")
    light = sum(int(part) for part in shade.strip("rgb()").split(",")[:3]) > 384
    assert light == (scheme == "dark")
    context.close()
