"""The site builds without a warning, its pages do what they say, and it needs no network."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tyro

from benchmarks import jpeg, twins
from benchmarks.cards import RESULTS
from physgan.cli import COMMANDS
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe, physics_from, shipped_recipes
from physgan.weights.catalogue import SHIPPED

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")])


def blocks(page: Path, language: str = "") -> list[str]:
    """The blocks of code of a language on a page."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```(\S*).*\n((?:(?!```).*\n)*)```$", text, re.MULTILINE)
    return [code for named, code in found if named == language]


def commands() -> Iterator[tuple[str, str]]:
    for page in (ROOT / "README.md", *PAGES):
        for block in blocks(page):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("physgan ") and not line.startswith("physgan --"):
                    yield page.name, line


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_a_command_is_one_that_exists(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("KERNELS").mkdir()
    np.save("KERNELS/square.npy", np.ones((3, 3)))
    _, name, *argv = shlex.split(line)
    module = import_module(COMMANDS[name][0])
    arguments, overrides = tyro.cli(module.Arguments, args=argv, return_unknown_args=True)
    if getattr(arguments, "task", None) is not None:
        assert (DOCS / "howto" / f"{arguments.task}.md").is_file()
    if name == "train" and not arguments.recipe.endswith(".yaml"):
        recipe = load_recipe(arguments.recipe, overrides)
        assert build_degradation(recipe.physics).samplers
    elif name != "train":
        assert not overrides
    physics = getattr(arguments, "physics", None)
    if physics is not None and "." not in physics:
        assert physics_from(physics)


def test_python_of_the_first_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(DOCS / "start.md", "python")
    exec(compile(code, "start.md", "exec"), {})
    assert capsys.readouterr().out == "(1, 3, 120, 200)\n"


@pytest.mark.parametrize("page", ["index.md", "start.md"])
def test_the_first_screen_tells_of_the_page(page: str) -> None:
    first = (DOCS / page).read_text(encoding="utf-8").splitlines()[:16]
    assert any("physgan app" in line for line in first)
    assert any("(app.md)" in line for line in first)


def test_every_task_has_its_page() -> None:
    tasks = {page.stem for page in DOCS.glob("howto/*.md")}
    assert tasks >= SHIPPED.keys()
    assert tasks <= set(shipped_recipes())
    start = (DOCS / "start.md").read_text(encoding="utf-8")
    for task in tasks:
        assert f"howto/{task}.md" in start
        page = (DOCS / "howto" / f"{task}.md").read_text(encoding="utf-8")
        assert f"```{{physgan-measured}} {task}\n" in page


def test_the_tables_of_weights_are_those_of_the_results() -> None:
    page = (DOCS / "weights.md").read_text(encoding="utf-8")
    assert twins.table() in page, 'python -c "from benchmarks.twins import table; print(table())"'
    rows = json.loads((RESULTS / "jpeg.json").read_text(encoding="utf-8"))
    assert {row["task"]: row["sha256"] for row in rows} == SHIPPED, "python -m benchmarks.jpeg"
    assert jpeg.table(rows) in page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, beside the clone rather than in it."""
    ground = tmp_path_factory.mktemp("site")
    made = shutil.ignore_patterns("_build", "gallery", "sg_*", "__pycache__")
    shutil.copytree(DOCS, ground / "docs", ignore=made)
    for beside in ROOT.iterdir():  # which pages link to
        if beside != DOCS:
            (ground / beside.name).symlink_to(beside)
    environment = {**os.environ, "MPLBACKEND": "agg"}
    for builder in ("html", "doctest"):
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder]
        command += ["-d", "doctrees", "docs", builder]
        done = subprocess.run(
            command, cwd=ground, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return ground


def test_the_site_is_whole(site: Path) -> None:
    html = site / "html"
    for page in PAGES:
        assert (html / page.relative_to(DOCS)).with_suffix(".html").is_file()
    gallery = {path.stem for path in (ROOT / "examples" / "gallery").glob("plot_*.py")}
    assert len(gallery) >= 3
    for name in gallery:
        assert list(html.glob(f"_images/sphx_glr_{name}_001.png"))
    method = (html / "method.html").read_text(encoding="utf-8")
    assert re.findall(r'id="equation-(\d+)"', method) == [str(n) for n in range(1, 13)]
    assert "merror" not in method
    reference = (html / "commands.html").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f'<section id="{command}">' in reference
    for option in ("--skip-existing", "--pairs-at-most NUMBER", "--objective.lambda [50.0]"):
        assert option in re.sub(r"</?span[^>]*>", "", reference)
    for task in SHIPPED:
        assert "<table" in (html / "howto" / f"{task}.html").read_text(encoding="utf-8")
    restoring = (html / "api" / "restore.html").read_text(encoding="utf-8")
    assert 'id="physgan.restore.restorer.Restorer.from_pretrained"' in restoring


def test_the_site_needs_no_network(site: Path) -> None:
    """Links lead away; nothing is fetched from elsewhere."""
    fetched = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"(?:https?:)?//")
    for page in (site / "html").rglob("*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), page
    for sheet in (site / "html").rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", text), sheet


def test_the_examples_on_its_pages_run(site: Path) -> None:
    told = (site / "doctest" / "output.txt").read_text(encoding="utf-8")
    (tests,) = re.findall(r"Doctest summary\n=+\n +(\d+) tests?\n", told)
    assert int(tests) > 0
    assert "0 failures in tests" in told
