"""The web page: drop pictures, say what is wrong with them, see before and after, take them home.

Every handler is short: pictures are restored at the desk, and a generator tells of them. Who closes
the page or presses Cancel takes their tickets with them.
"""

from __future__ import annotations

import asyncio
import html
import json
import logging
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any

import gradio
from fastapi import FastAPI
from gradio.data_classes import ListFiles

from physgan.errors import ImageError, PhysganError
from physgan.images.preview import write_preview
from physgan.web.api import safe_name, safe_suffix
from physgan.web.desk import Busy, Cancelled, Desk, Ticket
from physgan.web.gate import Handler
from physgan.web.guard import FILES
from physgan.web.measured import measured, shortcomings
from physgan.weights.file import WeightsInfo

_log = logging.getLogger("physgan")

WRONG = {
    "deblur-text": "Text is blurred",
    "deblur-face": "A face is blurred",
    "deblur-natural": "A photograph is shaken",
    "dehaze": "Haze or fog",
    "derain": "Rain",
    "sr4": "Too few pixels",
}
"""Task -> what a person would say is wrong; other tasks go by their names."""

ABOUT = {
    "deblur-text": "Sharpens blurred documents. It can write what was never there: trust no digit "
    "and no name that the original does not show.",
    "deblur-face": "Sharpens a blurred face. Features are guessed: tell nobody's identity by them.",
    "deblur-natural": "Takes the shake of the hand out of a photograph.",
    "dehaze": "Takes haze and fog away, so that what is far comes near. It is for hazy pictures "
    "alone: what is pale or flat without haze, such as pages, walls and grey skies, comes back too "
    "dark. Do not run it over an album or over scans.",
    "derain": "Takes falling rain away, and shows what is behind it.",
    "sr4": "Makes a picture four times as wide and as high. The finest details are guessed.",
}
"""Task -> what a person should know before; of other tasks their weights tell."""

PREVIEW = 2048
"""Longest side of what the page shows; what it gives is of full size."""

EXAMPLES = Path(str(resources.files("physgan.web"))) / "examples"
"""Pictures to try, TASK.jpg or TASK.png each."""

VISITS = 1000
"""pages that are remembered, while nobody waits for their pictures: more are never open at once"""

_SESSIONS = 200
"""pages whose last inputs gradio keeps, up to half a megabyte each; nothing depends on them"""

_UNEXPECTED = "something went wrong that should not; the server's log says."

KEPT = 3600
"""seconds that files of a page are kept for at least, once nobody has touched it"""

_CANCELLING = "Cancelling …"
_NOTHING_YET = "Before and after will be shown here."
_GONE = "The server does not answer any more. Start it again, and load this page anew."
_BACK = "The server was away and is there again. Load this page anew."
_ASKED = 3000
"""milliseconds between two questions whether the server is there"""
_PATIENCE = 10_000
"""milliseconds that its answer may take"""
_LOOK = 0.25
"""seconds between two looks at how far the desk is"""

_CSS = """
#told { min-height: 3.2em; scroll-margin-top: 1em; }
#told progress {
    appearance: none; width: 100%; height: 0.7em; border-radius: 0.35em; overflow: hidden;
    background: var(--border-color-primary);
}
#told progress::-webkit-progress-bar { background: none; }
#told progress::-webkit-progress-value { background: var(--color-accent); }
#told progress::-moz-progress-bar { background: var(--color-accent); }
#told progress:indeterminate {
    background: linear-gradient(90deg, var(--border-color-primary) 30%, var(--color-accent) 50%,
        var(--border-color-primary) 70%) 0 0 / 200% 100%;
    animation: at-work 2s linear infinite;
}
#told progress:indeterminate::-moz-progress-bar { background: none; }
@keyframes at-work { from { background-position: 200% 0; } to { background-position: 0 0; } }
@media (prefers-reduced-motion: reduce) {
    #told progress:indeterminate { animation-duration: 12s; }
}
#told ul { margin: 0.4em 0 0 1.2em; list-style: disc; }
#about summary { cursor: pointer; }
#about ul { margin: 0.4em 0 0 1.2em; list-style: disc; }
fieldset input[type=radio]:focus-visible {
    outline: 2px solid var(--body-text-color); outline-offset: 2px;
}
#strength input[type=range]:focus-visible {
    outline: 2px solid var(--body-text-color); outline-offset: 2px;
}
#strength input[type=range]::-webkit-slider-thumb { border: 2px solid var(--primary-700); }
#strength input[type=range]::-moz-range-thumb { border: 2px solid var(--primary-700); }
#examples .grid-wrap { min-height: 0; max-height: none; padding-top: 2em; }
#examples .caption-label { max-width: 100%; overflow: visible; white-space: normal; }
@media (max-width: 500px) {
    #examples .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
footer { display: none !important; }
/* What a page whose server has gone cannot offer, and gradio's own word on it. */
.lost #told progress, .lost #cancel, .lost .toast-wrap { display: none !important; }
"""
# On a telephone what is told lies below the form. The page grows while pictures come, and until
# somebody scrolls it is kept in view.
_SEEN = """() => {
    const told = document.getElementById("told"), own = new AbortController();
    for (const moved of ["wheel", "touchmove", "pointerdown", "keydown"])
        window.addEventListener(moved, () => own.abort(), { signal: own.signal, passive: true });
    const look = () => {
        const top = told.getBoundingClientRect().top;
        if (own.signal.aborted || (top >= 0 && top <= window.innerHeight / 2)) return;
        told.scrollIntoView();
    };
    for (const wait of [0, 250, 500, 1000, 2000, 4000]) setTimeout(look, wait);
    setTimeout(() => own.abort(), 5000);
}"""
# What is told comes from the server, which cannot tell that it has ended. One that is there again
# since another time knows nothing of this page; another was only out of reach.
_LOST = f"""() => {{
    let missed = 0, asks = false, since = null, before = null;
    const told = () => document.querySelector("#told [role=status]");
    const ask = async () => {{
        const asked = {{ cache: "no-store", signal: AbortSignal.timeout({_PATIENCE}) }};
        const answer = await fetch("api/health", asked)
            .then(answer => answer.ok ? answer.json() : null).catch(() => null);
        missed = answer ? 0 : missed + 1;
        const again = answer && since !== null && answer.since !== since;
        if (answer && since === null) since = answer.since;
        if (answer && !again && before !== null) {{
            document.body.classList.remove("lost");
            if (told().textContent === {json.dumps(_GONE)}) told().textContent = before;
            before = null;
        }} else if (again || missed > 1) {{
            before ??= told().textContent;
            document.body.classList.add("lost");
            told().textContent = again ? {json.dumps(_BACK)} : {json.dumps(_GONE)};
        }}
    }};
    const look = async () => {{
        if (asks || document.hidden) return;
        asks = true;
        await ask();
        asks = false;
    }};
    look();
    setInterval(look, {_ASKED});
}}"""
# gradio gives the slider's pictures no text, examples a number, and each radio button a name of its
# own, so that arrow keys find no other in the group. It changes them whenever it likes.
_NAMES = """() => {
    const give = (element, attribute, text) => {
        if (element.getAttribute(attribute) !== text) element.setAttribute(attribute, text);
    };
    const name = () => {
        for (const image of document.querySelectorAll("#compared img")) {
            const before = image.src.endsWith("/before.jpg");
            give(image, "alt", before ? "The picture before" : "The picture after, restored");
        }
        for (const radio of document.querySelectorAll("fieldset input[type=radio]"))
            give(radio, "name", radio.closest("fieldset").id);
        for (const image of document.querySelectorAll("#examples .thumbnail-item img"))
            give(image.closest("button"), "aria-label", `Example: ${image.alt}`);
    };
    name();
    new MutationObserver(name).observe(document.body, {
        childList: true, subtree: true, attributeFilter: ["src", "name", "aria-label"],
    });
}"""
# A button that cannot be pressed any more loses the focus to nothing: what is told takes it, behind
# which Cancel comes by the next Tab, or the place for pictures where one was taken from it.
_FOCUS = """() => {
    let last = null, within = false;
    document.addEventListener("focusin", ({ target }) => {
        within = target.closest("#pictures") !== null;
        last = within || target.closest("#restore, #cancel") ? target : null;
    });
    const keep = () => {
        if (document.activeElement !== document.body || !last) return;
        if (last.isConnected && !last.disabled && last.checkVisibility()) return;
        if (within) {
            document.querySelector("#pictures button")?.focus({ preventScroll: true });
            return;
        }
        const told = document.getElementById("told");
        told.tabIndex = -1;
        told.focus({ preventScroll: true });
    };
    // Later, since the focus goes when the page is drawn.
    new MutationObserver(() => setTimeout(keep, 100)).observe(document.body, {
        childList: true, subtree: true, attributeFilter: ["disabled", "class"],
    });
}"""
# Who brings pictures wants those; gradio adds them to the sample that was tried before.
_BROUGHT = f"""files => {{
    const brought = files.filter(file => !file.path.startsWith({json.dumps(str(EXAMPLES))}));
    return [brought.length ? brought : files];
}}"""
_WORDS = {"upload_text.drop_file": "Drop pictures here", "common.upload": "Add pictures"}
"""gradio's key -> what it says in English: its own word is for one file, or there is none"""
_SIDES = [("Both, under the slider", "both"), ("Before", "before"), ("After", "after")]


@dataclass
class _Done:
    """A restored picture that somebody may look at."""

    name: str
    file: Path
    before: Path
    after: Path


@dataclass
class _Visit:
    """What one opened page has at the desk, and what it got."""

    root: Path
    uploads: set[Path] = field(default_factory=set)
    """that it may restore yet"""
    folder: Path | None = None
    """of what is restored now, in `root`"""
    tickets: list[Ticket] = field(default_factory=list)
    done: list[_Done] = field(default_factory=list)
    stopped: bool = False
    """whether somebody wants no more of what was asked for"""
    restoring: int = 0
    """how often it was asked for pictures, and has not given them yet"""
    seen: float = 0.0
    """when somebody last asked for something, by the monotonic clock"""

    @property
    def idle(self) -> bool:
        """Whether nobody waits for pictures."""
        return not self.restoring and all(ticket.future.done() for ticket in self.tickets)

    def begin(self) -> Path:
        """Forgets what was restored before; gives a folder for what comes now."""
        self.empty()
        self.stopped = False
        self.folder = Path(tempfile.mkdtemp(dir=self.root))
        return self.folder

    def wants(self, folder: Path) -> bool:
        """Whether what goes into a folder is still waited for."""
        return not self.stopped and self.folder == folder

    def cancel(self) -> None:
        self.stopped = True
        for ticket in self.tickets:
            ticket.cancel()

    def empty(self) -> None:
        """Leaves no file, as soon as nobody writes any more."""
        self.cancel()
        if self.folder is not None:
            folder, left = self.folder, [t.future for t in self.tickets if not t.future.done()]
            for future in left:
                future.add_done_callback(lambda _: shutil.rmtree(folder, ignore_errors=True))
            shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.tickets, self.done = None, [], []


def mount_page(app: FastAPI, desk: Desk, folder: Path) -> tuple[FastAPI, dict[int, Handler]]:
    """Puts the page at the root of an application, and tells what it asks for.

    Args:
        app: the application.
        desk: restores.
        folder: where uploads and results lie while their page is open.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(uploads(folder))
    shown = folder / "shown"
    for made in (uploads(folder), shown):
        made.mkdir(exist_ok=True)
    gradio.set_static_paths([EXAMPLES, shown])  # or gradio keeps copies, which nobody would delete
    examples = [path for path in sorted(EXAMPLES.iterdir()) if path.stem in desk.tasks]
    page = _page(desk, _Visits(shown, uploads(folder)), examples)
    mounted: FastAPI = gradio.mount_gradio_app(
        app,
        page,
        path="",
        max_file_size=desk.limits.bytes,
        show_error=False,
        ssr_mode=False,
        footer_links=[],
        css=_CSS,
        theme=_theme(),
        i18n=gradio.I18n(en=_WORDS),
    )
    return mounted, _handlers(page, examples)


def uploads(folder: Path) -> Path:
    """The folder that gradio puts uploads into, in that of the server."""
    return folder / "page"


_Forgotten = tuple[_Visit, list[Path]]
"""A page, and those of its uploads that no other page has."""


class _Visits:
    """Every page that is open, by gradio's name for it; to be asked in any thread."""

    def __init__(self, folder: Path, uploads: Path) -> None:
        self._folder, self._uploads = folder, uploads
        self._visits: dict[str, _Visit] = {}
        """those seen last at the end"""
        self._lock = Lock()
        self.busy = 0
        """how many of them wait for pictures"""

    def of(self, request: gradio.Request) -> _Visit:
        with self._lock:
            visit, forgotten = self._seen(request)
        _delete(forgotten)
        return visit

    def _seen(self, request: gradio.Request) -> tuple[_Visit, list[_Forgotten]]:
        key, now = request.session_hash or "", time.monotonic()
        visit = self._visits.pop(key, None)
        forgotten = self._old(now) if visit is None else []
        visit = self._visits[key] = visit or _Visit(self._folder)
        visit.seen = now
        return visit, forgotten

    def _old(self, now: float) -> list[_Forgotten]:
        """Forgets who came by no browser, which would have said when it left, and who are too many.

        Nobody who waits for pictures is forgotten.
        """
        idle = [(key, visit) for key, visit in self._visits.items() if visit.idle]
        many = len(self._visits) + 1 - VISITS
        old = [
            key
            for number, (key, visit) in enumerate(idle)
            if number < many or now - visit.seen > KEPT
        ]
        return [each for key in old for each in self._forget(key)]

    def stop(self, request: gradio.Request) -> tuple[Any, Any]:
        visit = self.of(request)
        if visit.stopped or visit.folder is None:
            return gradio.skip(), gradio.skip()
        visit.cancel()
        return _sentence(_CANCELLING), gradio.Button(interactive=False)

    def uploaded(self, files: Sequence[str] | None, request: gradio.Request) -> None:
        """These are the page's own now, and go with it."""
        paths = {Path(file) for file in files or ()}
        with self._lock:
            visit, forgotten = self._seen(request)
            visit.uploads |= {p for p in paths if p.is_relative_to(self._uploads)}
        _delete(forgotten)

    def left(self, request: gradio.Request) -> None:
        with self._lock:
            forgotten = self._forget(request.session_hash or "")
        _delete(forgotten)

    def _forget(self, key: str) -> list[_Forgotten]:
        visit = self._visits.pop(key, None)
        if visit is None:
            return []
        # The same picture uploaded by another page is the same file.
        others = [other.uploads for other in self._visits.values()]
        own = [path for path in visit.uploads if not any(path in each for each in others)]
        return [(visit, own)]


def _delete(forgotten: Iterable[_Forgotten]) -> None:
    """Deletes the files of pages; others that ask meanwhile need not wait for it."""
    for visit, uploads in forgotten:
        visit.empty()
        for path in uploads:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # another upload of the same content lies beside it, or none
                path.parent.rmdir()


def _page(desk: Desk, visits: _Visits, examples: Sequence[Path]) -> gradio.Blocks:
    quietly: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # Asked and answered in one request. What is queued is answered on a stream that all of a page
    # share, and what is asked just when another's answer closes it never hears.
    at_once: dict[str, Any] = {"queue": False, **quietly}

    page: gradio.Blocks = gradio.Blocks(
        title="physgan", analytics_enabled=False, delete_cache=(600, KEPT)
    )
    with page:
        gradio.Markdown(
            "# physgan\nRestores degraded pictures. Everything is computed by this server; nothing "
            "is sent anywhere else."
        )
        with gradio.Row():
            with gradio.Column(scale=2, min_width=320):
                files = gradio.File(
                    label="Pictures",
                    file_count="multiple",
                    type="filepath",
                    height=180,
                    elem_id="pictures",
                )
                task = gradio.Radio(
                    [(WRONG.get(name, name), name) for name in desk.tasks],
                    label="What is wrong with them?",
                    elem_id="wrong",
                )
                about = gradio.HTML(_about("", None), elem_id="about")
                strength = gradio.Slider(
                    0,
                    1,
                    value=1,
                    step=0.05,
                    label="Strength",
                    info="Less mixes the original in.",
                    elem_id="strength",
                )
                go = gradio.Button("Restore", variant="primary", elem_id="restore")
                if examples:
                    gallery = gradio.Gallery(
                        [(str(path), WRONG.get(path.stem, path.stem)) for path in examples],
                        label="Or click one of these to try",
                        columns=3,
                        height="auto",
                        allow_preview=False,
                        object_fit="cover",
                        interactive=False,
                        buttons=[],
                        elem_id="examples",
                    )
            with gradio.Column(scale=3, min_width=320):
                told = gradio.HTML(_sentence(_NOTHING_YET), elem_id="told")
                cancel = gradio.Button("Cancel", variant="stop", visible=False, elem_id="cancel")
                with gradio.Column(visible=False) as results:
                    chosen = gradio.Dropdown([], label="Picture", visible=False)
                    side = gradio.Radio(_SIDES, value="both", label="Show", elem_id="show")
                    compared = gradio.ImageSlider(
                        label="Before and after",
                        type="filepath",
                        interactive=False,
                        max_height=720,
                        buttons=["fullscreen"],
                        elem_id="compared",
                    )
                    one = gradio.DownloadButton(visible=False, variant="primary")
                    every = gradio.DownloadButton(visible=False)

        async def restore(
            files: Sequence[str] | None, task: str | None, strength: float, request: gradio.Request
        ) -> AsyncIterator[dict[Any, Any]]:
            if not files or task is None:
                missing = "Choose pictures first." if not files else "Say what is wrong with them."
                yield {told: _sentence(missing)}
                return
            if visits.busy >= desk.limits.waiting + desk.limits.at_once:
                yield {told: _sentence("Too many wait. Come back in a minute.")}
                return
            visits.uploaded(files, request)
            visit, faults = visits.of(request), dict[int, str]()
            folder = visit.begin()
            visits.busy += 1
            visit.restoring += 1
            try:
                yield {
                    told: _sentence("Looking at what came …"),
                    go: gradio.Button(interactive=False),
                    cancel: gradio.Button(visible=True, interactive=True),
                    results: gradio.Column(visible=False),
                }
                async for progress in _restored(desk, visit, folder, files, task, strength, faults):
                    yield {told: progress}
                if visit.folder != folder:  # the same page has asked again since, or has gone
                    return
                archive = await asyncio.to_thread(_zipped, visit.done, folder)
            except Exception:
                visit.cancel()
                yield {
                    told: _sentence(_UNEXPECTED[0].upper() + _UNEXPECTED[1:]),
                    go: gradio.Button(interactive=True),
                    cancel: gradio.Button(visible=False),
                }
                raise
            finally:
                visits.busy -= 1
                visit.restoring -= 1
            names = [(done.name, number) for number, done in enumerate(visit.done)]
            slider, single = show(0, "both", request)
            cancelled, visit.stopped = visit.stopped, True  # what comes late is not heeded
            yield {
                told: _ended(visit.done, [faults[n] for n in sorted(faults)], cancelled=cancelled),
                side: gradio.Radio(value="both"),
                go: gradio.Button(interactive=True),
                cancel: gradio.Button(visible=False),
                results: gradio.Column(visible=bool(names)),
                chosen: gradio.Dropdown(names, value=0 if names else None, visible=len(names) > 1),
                compared: slider,
                one: single,
                every: gradio.DownloadButton(
                    f"Download all {len(names)} as ZIP", value=archive, visible=archive is not None
                ),
            }

        def show(number: int | None, side: str, request: gradio.Request) -> tuple[Any, Any]:
            done = visits.of(request).done
            if number is None or not 0 <= number < len(done):
                return None, gradio.DownloadButton(visible=False)
            one = done[number]
            label = f"Download {one.name}"
            download = gradio.DownloadButton(label, value=str(one.file), visible=True)
            before, after = str(one.before), str(one.after)
            pair = {"before": (before, before), "after": (after, after)}
            return pair.get(side, (before, after)), download

        def changed(files: Sequence[str] | None, request: gradio.Request) -> tuple[Any, Any]:
            visits.uploaded(files, request)
            if files:
                return gradio.skip(), gradio.skip()
            visit = visits.of(request)
            if visit.restoring:  # which ends as cancelled, and says so
                visit.cancel()
                return _sentence(_CANCELLING), gradio.skip()
            # The files stay until the page asks again or goes: an answer may still be on its way.
            return _sentence(_NOTHING_YET), gradio.Column(visible=False)

        def example(event: gradio.SelectData) -> tuple[Any, Any]:
            path = _chosen(event, examples)
            return ([str(path)], path.stem) if path else (gradio.skip(), gradio.skip())

        begin: dict[str, Any] = {
            "fn": restore,
            "inputs": [files, task, strength],
            "outputs": [told, go, cancel, results, chosen, side, compared, one, every],
            "concurrency_limit": None,
            **quietly,
        }
        seen: dict[str, Any] = {"fn": None, "js": _SEEN, **quietly}
        go.click(**seen)
        go.click(**begin).then(**seen)
        cancel.click(visits.stop, None, [told, cancel], **at_once)
        files.upload(None, files, files, js=_BROUGHT, **quietly)
        files.change(changed, files, [told, results], **at_once)
        task.change(lambda name: _about(name, desk.tasks.get(name)), task, about, **at_once)
        # Not preprocessed: gradio may have forgotten which pictures this page can choose from.
        shows: dict[str, Any] = {
            "fn": show,
            "inputs": [chosen, side],
            "outputs": [compared, one],
            "preprocess": False,
            **at_once,
        }
        chosen.input(**shows)
        side.change(**shows)
        for script in (_NAMES, _FOCUS, _LOST):
            page.load(None, js=script, **quietly)
        if examples:
            tapped = gallery.select(example, None, [files, task], **at_once)
            tapped.then(**seen)
            tapped.then(**begin).then(**seen)
        page.unload(visits.left)
    page.queue(max_size=None, api_open=False)  # what is queued is asked for by no other way
    # What is mounted is never launched, and what is not launched lets requests name any file.
    page.has_launched = True
    page.state_session_capacity = _SESSIONS
    return page


def _handlers(page: gradio.Blocks, examples: Sequence[Path]) -> dict[int, Handler]:
    """What a page asks for, by gradio's numbers."""

    def takes(fn: Any, data: list[Any], event: Any) -> bool:
        try:
            for block, value in zip(fn.inputs, data, strict=True):
                _take(block, value)
            if "select" not in _events(fn):
                return True
            return _chosen(gradio.SelectData(None, event), examples) is not None
        except Exception:  # whatever gradio's own checks raise
            return False

    return {
        number: Handler(fn.queue, partial(takes, fn))
        for number, fn in page.fns.items()
        if fn.fn is not None and "unload" not in _events(fn)  # which the server calls itself
    }


def _events(fn: Any) -> list[str]:
    return [event for _, event in fn.targets]


def _take(block: Any, value: Any) -> None:
    """Raises where a part of the page never has such a value."""
    if isinstance(block, gradio.File):
        if value is not None:
            files = ListFiles.model_validate(value, context={"validate_meta": True})
            if len(files.root) > FILES:
                raise ValueError
    elif isinstance(block, gradio.Dropdown):  # of which each page has other choices
        if value is not None and type(value) is not int:
            raise ValueError
    else:
        block.preprocess(value)


def _chosen(event: gradio.SelectData, examples: Sequence[Path]) -> Path | None:
    """The example that was clicked."""
    number = event.index
    return examples[number] if type(number) is int and 0 <= number < len(examples) else None


def _theme() -> Any:
    """gradio's own with the fonts of the system: none is fetched from anywhere.

    Text has a contrast of 4.5 at least, and what else must be seen one of 3.
    """
    plain = ["ui-sans-serif", "system-ui", "sans-serif"]
    theme = gradio.themes.Default(
        primary_hue="teal", font=plain, font_mono=["ui-monospace", "monospace"]
    )
    red = gradio.themes.colors.red
    return theme.set(
        body_text_color_subdued="*neutral_500",
        button_cancel_background_fill=red.c700,
        button_cancel_background_fill_hover=red.c800,
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_border_color_hover="*neutral_500",
        checkbox_border_color_hover_dark="*neutral_400",
        color_accent="*primary_600",
    )


async def _restored(
    desk: Desk,
    visit: _Visit,
    folder: Path,
    files: Iterable[str],
    task: str,
    strength: float,
    faults: dict[int, str],
) -> AsyncIterator[str]:
    """Hands files in, in turn, and tells of the progress; `visit` and `faults` take what comes.

    Faults go by the number of the file, since some are found before others that came earlier.
    """
    waiting = list(enumerate(map(Path, files)))
    count, used = len(waiting), set[str]()
    handed: list[tuple[int, Ticket]] = []
    while (waiting or handed) and visit.folder == folder:
        if visit.stopped:
            faults |= {number: _left(safe_name(upload.name)) for number, upload in waiting}
            waiting = []
        while waiting and not visit.stopped and len(handed) < 2 * desk.limits.at_once:
            number, upload = waiting[0]
            try:
                ticket = await asyncio.to_thread(_hand_in, desk, folder, upload, task, strength)
            except Busy:  # others have the desk; go on when they have gone
                break
            except PhysganError as error:
                faults[number] = str(error)
            else:
                ticket.name = _unlike(ticket.name, used)
                visit.tickets.append(ticket)
                handed.append((number, ticket))
                if not visit.wants(folder):  # since it was handed in
                    ticket.cancel()
            waiting.pop(0)
        while handed and handed[0][1].future.done():
            number, ticket = handed.pop(0)
            try:
                done = await asyncio.to_thread(_shown, ticket)
                visit.done.append(done)
            except Cancelled:
                faults[number] = _left(ticket.name)
            except PhysganError as error:
                faults[number] = str(error)
            except Exception:  # which costs the others nothing
                _log.exception("restoring '%s'", ticket.name)
                faults[number] = f"{ticket.name}: {_UNEXPECTED}"
            if number in faults:  # nobody fetches anything of it
                await asyncio.to_thread(shutil.rmtree, ticket.folder, ignore_errors=True)
        shares = sum(ticket.share for _, ticket in handed)
        begun = any(ticket.begun for _, ticket in handed)
        finished = len(visit.done) + len(faults)
        share = min(1.0, (finished + shares) / count)
        yield _progress(
            finished,
            count,
            share,
            waits=bool(handed or waiting) and not begun,
            stopped=visit.stopped,
        )
        if (handed and not handed[0][1].future.done()) or (waiting and not handed):
            await asyncio.sleep(_LOOK)


def _left(name: str) -> str:
    return f"{name}: cancelled, not restored."


def _hand_in(desk: Desk, folder: Path, upload: Path, task: str, strength: float) -> Ticket:
    name = safe_name(upload.name)
    own = Path(tempfile.mkdtemp(dir=folder))
    source = own / f"observed{safe_suffix(name)}"
    with _kept_by(name), ExitStack() as otherwise:
        otherwise.callback(shutil.rmtree, own, ignore_errors=True)
        try:
            shutil.copyfile(upload, source)
        except FileNotFoundError:
            raise ImageError(
                f"picture '{name}'",
                expected="an upload that is still here",
                got="none",
                remedy="Choose it again.",
            ) from None
        ticket = desk.submit(source, own, task=task, strength=strength, name=name)
        otherwise.pop_all()
    return ticket


def _shown(ticket: Ticket) -> _Done:
    """A restored picture under its own name, with what the page shows of it."""
    restored, own = ticket.future.result(), ticket.folder
    (source,) = own.glob("observed*")
    before, after, folder = own / "before.jpg", own / "after.jpg", own / "result"
    with _kept_by(ticket.name):
        size = write_preview(restored, after, longest=PREVIEW)
        write_preview(source, before, longest=PREVIEW, size=size)
        source.unlink()
        folder.mkdir()
        return _Done(ticket.name, restored.rename(folder / ticket.name), before, after)


@contextmanager
def _kept_by(name: str) -> Iterator[None]:
    """What the server's disk does not keep of one picture is no fault of another."""
    try:
        yield
    except OSError as error:
        raise ImageError(
            f"picture '{name}'",
            expected="the server's disk to take it",
            got=error.strerror or type(error).__name__,
            remedy="Try it again later.",
        ) from None


def _unlike(name: str, used: set[str]) -> str:
    """A name that no other has: `a.png`, `a-2.png`."""
    path, number, unlike = Path(name), 2, name
    while unlike.casefold() in used:  # many systems tell no A from a
        unlike, number = f"{path.stem}-{number}{path.suffix}", number + 1
    used.add(unlike.casefold())
    return unlike


def _zipped(done: Sequence[_Done], folder: Path) -> str | None:
    """All of several pictures in one file, where there is room for it."""
    if len(done) < 2:
        return None
    path = folder / "restored.zip"
    try:
        # Pictures are compressed already.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for each in done:
                archive.write(each.file, each.name)
    except OSError:  # no room; each can be had by itself
        path.unlink(missing_ok=True)
        return None
    return str(path)


def _sentence(text: str) -> str:
    return f'<p role="status" aria-live="polite">{html.escape(text)}</p>'


def _progress(finished: int, count: int, share: float, *, waits: bool, stopped: bool) -> str:
    which = f"{finished + 1} of {count}" if count > 1 and finished < count else "the picture"
    text = "Waiting for a free place …" if waits else f"Restoring {which} …"
    text = _CANCELLING if stopped else text
    # Without a value browsers show that something is at work, and not how far it is.
    value = f' value="{share:.3f}"' if share else ""
    return f'{_sentence(text)}<progress max="1"{value} aria-label="progress"></progress>'


def _ended(done: Sequence[_Done], faults: Sequence[str], *, cancelled: bool) -> str:
    text = "Nothing restored."
    if done:
        text = f"{len(done)} pictures restored." if len(done) > 1 else f"{done[0].name} restored."
        if faults:
            text += f" {len(faults)} {'were' if len(faults) > 1 else 'was'} not."
    items = "".join(f"<li>{html.escape(fault)}</li>" for fault in faults)
    told = _sentence(f"Cancelled. {text}" if cancelled else text)
    return told + (f'<div role="alert"><ul>{items}</ul></div>' if faults else "")


def _about(task: str, info: WeightsInfo | None) -> str:
    """What a task does, what it is bound to and what it was measured at."""
    if info is None:
        return ""
    parts = [html.escape(ABOUT.get(task, info.description))]
    if info.experimental:
        parts.append("It falls short of what is asked of it: look twice at what comes back.")
    parts.append(f"Licence of the weights: {html.escape(info.terms)}.")
    details = " ".join(part for part in (info.description, shortcomings(info)) if part)
    told = f"<p>{html.escape(details)}</p>"
    if lines := measured(info):
        told += (
            "<p>Measured as PSNR, before → after; more is nearer to the clear picture:</p><ul>"
            + "".join(f"<li>{html.escape(line)}</li>" for line in lines)
            + "</ul>"
        )
    return (
        f"<p>{' '.join(parts)}</p><details><summary>What the weights are</summary>{told}</details>"
    )
