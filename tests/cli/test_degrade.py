"""`physgan degrade`: pairs, theta and a manifest that makes the same pairs again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import yaml

from physgan.cli import main
from physgan.data.maker import seed_of
from physgan.data.pairs import read_pairs
from physgan.data.theta import load_theta
from physgan.images.read import read_8bit
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from physgan.weights.file import load_weights, save_weights
from tests.restore.small import small_weights
from tests.training.tiny import draw_pictures, write_picture, write_recipe


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    draw_pictures(tmp_path / "clear", 4)
    write_recipe(tmp_path)
    return tmp_path


def degrade(ground: Path, output: str, *more: str, physics: str = "tiny.yaml") -> int:
    argv = [str(ground / "clear"), "--physics", str(ground / physics)]
    return main(["degrade", *argv, "--output", str(ground / output), *more])


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_pairs_are_what_the_physics_makes(ground: Path) -> None:
    assert degrade(ground, "pairs", "--seed", "3") == 0
    pairs = read_pairs(ground / "pairs" / "degraded", ground / "pairs" / "clean")
    assert [pair.name for pair in pairs] == ["000", "001", "002", "003"]
    degradation = build_degradation(load_recipe(ground / "tiny.yaml").physics)
    for pair in pairs:
        clear = read_8bit(ground / "clear" / f"{pair.name}.png")
        assert torch.equal(pair.x[0], clear.float() / 255)
        theta = load_theta(ground / "pairs" / "theta" / f"{pair.name}.safetensors")
        off = (degradation.operator(pair.x, theta) - pair.y).square().mean().sqrt()
        assert float(off) < 0.002 + float(theta["sensor"]["sigma"])
        assert float(off) > 0.3 * float(theta["sensor"]["sigma"])


def test_pictures_without_jpeg_among_others_come_back(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ground / "pairs"
    argv = ["degrade", str(ground / "clear"), "--physics", "sr4", "--output", str(folder)]
    assert main(argv) == 0
    found = [load_theta(path) for path in sorted((folder / "theta").iterdir())]
    qualities = [float(theta["sensor"]["quality"]) for theta in found]
    assert 0 < sum(quality == 0 for quality in qualities) < 4
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert main(argv) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == before
    capsys.readouterr()
    main(["check-physics", str(folder)])
    assert "left out" not in capsys.readouterr().err


def test_the_manifest_makes_the_same_pairs_again(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert degrade(ground, "pairs", "--seed", "3") == 0
    assert degrade(ground, "again", "--json", physics="pairs/manifest.jsonl") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["differences"] == []
    assert files(ground / "again") == files(ground / "pairs")
    assert degrade(ground, "other", "--seed", "4") == 0
    assert files(ground / "other") != files(ground / "pairs")


def test_a_part_of_the_folder_gives_the_same_pairs(ground: Path) -> None:
    assert degrade(ground, "pairs") == 0
    (ground / "clear" / "000.png").unlink()
    write_picture(ground / "clear" / "000a.png", torch.rand(3, 20, 20))
    assert degrade(ground, "part") == 0
    before, after = files(ground / "pairs"), files(ground / "part")
    for name in ("degraded/002.png", "theta/002.safetensors"):
        assert before[name] == after[name]


def test_what_differs_from_the_manifest_is_told_by_kind(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert degrade(ground, "pairs") == 0
    write_picture(ground / "clear" / "001.png", torch.rand(3, 20, 20))
    (ground / "clear" / "002.png").unlink()
    write_picture(ground / "clear" / "zzz.png", torch.rand(3, 20, 20))
    text = (ground / "pairs" / "manifest.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    lines[0]["torch"] = "1.0"
    lines[4]["degraded_sha256"] = "0"
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (ground / "pairs" / "manifest.jsonl").write_text(text, encoding="utf-8")
    assert degrade(ground, "again", physics="pairs/manifest.jsonl") == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert "1 missing, such as '002'" in err
    assert "1 new, such as 'zzz'" in err
    assert "1 of other clear pictures, such as '001'" in err
    assert "1 of the same picture, degraded otherwise, such as '003'" in err
    assert "torch 1.0 then" in err
    assert "physgan" in err.split(":")[0]


def test_names_draw_alike_however_they_are_spelt() -> None:
    assert seed_of(1, "gr\u00f6\u00dfe") == seed_of(1, "gro\u0308\u00dfe")
    assert seed_of(1, "a") != seed_of(2, "a")


def test_a_run_that_was_killed_goes_on(ground: Path) -> None:
    assert degrade(ground, "whole") == 0
    shutil.copytree(ground / "whole", ground / "killed")
    lines = (ground / "killed" / "manifest.jsonl").read_text(encoding="utf-8").splitlines(True)
    # Killed between the two pictures of the third pair, with half a line of the second written.
    (ground / "killed" / "manifest.jsonl").write_text("".join(lines[:2]) + lines[2][:30], "utf-8")
    (ground / "killed" / "degraded" / "002.png").unlink()
    for part, suffix in (("clean", "png"), ("degraded", "png"), ("theta", "safetensors")):
        (ground / "killed" / part / f"003.{suffix}").unlink()
    before = (ground / "killed" / "degraded" / "000.png").stat().st_mtime_ns
    assert degrade(ground, "killed") == 0
    assert files(ground / "killed") == files(ground / "whole")
    assert (ground / "killed" / "degraded" / "000.png").stat().st_mtime_ns == before


def test_a_run_that_was_killed_twice_goes_on(ground: Path) -> None:
    """Each time while the line of a pair was written, in the middle of a letter of its name."""
    for path in sorted((ground / "clear").iterdir()):
        path.rename(path.with_stem(f"{path.stem}\u2028\u00f6"))
    physics = foreign(
        ground,
        "import pathlib; stop = pathlib.Path(__file__).with_name('stop')\n"
        "        if stop.exists() and x.shape[-1] == int(stop.read_text()):\n"
        "            raise KeyboardInterrupt\n"
        "        return x * 0.5",
    )
    assert degrade(ground, "whole", physics=physics) == 0
    manifest = ground / "killed" / "manifest.jsonl"
    for width in (44, 46):
        (ground / "stop").write_text(str(width), encoding="utf-8")
        assert degrade(ground, "killed", physics=physics) == 130
        content = manifest.read_bytes()
        manifest.write_bytes(content[: content.rindex("\u00f6".encode()) + 1])
    (ground / "stop").unlink()
    assert degrade(ground, "killed", physics=physics) == 0
    assert files(ground / "killed") == files(ground / "whole")


def test_a_bad_picture_costs_no_other(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "clear" / "002.png").write_bytes(b"")
    assert degrade(ground, "pairs") == 1
    assert "002.png" in capsys.readouterr().err
    assert {p.name for p in (ground / "pairs" / "clean").iterdir()} == {
        *("000.png", "001.png", "003.png")
    }
    manifest = (ground / "pairs" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["name"] for line in manifest[1:]] == ["000", "001", "003"]
    assert str(ground) not in manifest[0]


def test_pictures_are_cut_to_the_scale(ground: Path) -> None:
    (ground / "halves.py").write_text(
        "class Halves:\n"
        "    scale = 2\n"
        "    def __call__(self, x, theta):\n"
        "        return x[..., ::2, ::2]\n"
        "class Nothing:\n"
        "    def sample(self, x, *, generator):\n"
        "        return {}\n",
        encoding="utf-8",
    )
    text = (ground / "tiny.yaml").read_text(encoding="utf-8")
    head, _, tail = text.partition("    blur:")
    tail = tail[tail.index("  sensor:") :]
    stage = "    half: {operator: 'halves.py:Halves', sampler: 'halves.py:Nothing'}\n"
    (ground / "halves.yaml").write_text(head + stage + tail, encoding="utf-8")
    write_picture(ground / "clear" / "odd.png", torch.rand(3, 21, 33))
    write_picture(ground / "clear" / "dot.png", torch.rand(3, 1, 1))
    assert degrade(ground, "pairs", physics="halves.yaml") == 1  # one pixel has no half
    clean = read_8bit(ground / "pairs" / "clean" / "odd.png")
    degraded = read_8bit(ground / "pairs" / "degraded" / "odd.png")
    assert (clean.shape, degraded.shape) == ((3, 20, 32), (3, 10, 16))
    assert not (ground / "pairs" / "clean" / "dot.png").exists()


@pytest.mark.parametrize(
    ("more", "physics", "part"),
    [
        (("--seed", "-1"), "tiny.yaml", "0 to 2^32 - 1"),
        ((), "tiny.yml", "a YAML file or the name of a shipped recipe"),
    ],
)
def test_wrong_usage(
    ground: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    physics: str,
    part: str,
) -> None:
    assert degrade(ground, "pairs", *more, physics=physics) == 2
    assert part in capsys.readouterr().err
    assert not (ground / "pairs").exists()


OPERATOR = """
import torch
class Odd:
    scale = 1
    def __call__(self, x, theta):
        {body}
class Nothing:
    def sample(self, x, *, generator):
        return {{}}
"""


def foreign(ground: Path, body: str) -> str:
    """A recipe of an operator of one's own."""
    (ground / "odd.py").write_text(OPERATOR.format(body=body), encoding="utf-8")
    text = (ground / "tiny.yaml").read_text(encoding="utf-8")
    head, _, tail = text.partition("    blur:")
    stage = "    odd: {operator: 'odd.py:Odd', sampler: 'odd.py:Nothing'}\n"
    recipe = head + stage + tail[tail.index("  sensor:") :]
    (ground / "odd.yaml").write_text(recipe, encoding="utf-8")
    return "odd.yaml"


def test_a_manifest_runs_no_code_and_tells_no_places(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert degrade(ground, "pairs", physics=foreign(ground, "return x * 0.5")) == 0
    text = (ground / "pairs" / "manifest.jsonl").read_text(encoding="utf-8")
    assert str(ground) not in text
    assert "odd.py:Odd" in text
    again = [str(ground / "clear"), "--physics", str(ground / "pairs" / "manifest.jsonl")]
    for argv in (
        ["degrade", *again, "--output", str(ground / "again")],
        ["check-physics", str(ground / "pairs")],
    ):
        assert main(argv) == 2
        err = capsys.readouterr().err
        assert "foreign code, 'odd.py:Odd'" in err
        assert "--physics RECIPE" in err
    assert degrade(ground, "again", physics="odd.yaml") == 0
    assert files(ground / "again") == files(ground / "pairs")
    # Other code makes other pairs: they are not mixed.
    assert degrade(ground, "again", physics=foreign(ground, "return x * 0.4")) == 2


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("raise KeyError('beta')", "KeyError"),
        ("return x / 0 * 0", "finite"),
        ("return torch.rand_like(x)[..., 1:]", "Its scale is 1"),
    ],
)
def test_physics_that_fails_is_refused_before_anything_is_made(
    ground: Path, capsys: pytest.CaptureFixture[str], body: str, part: str
) -> None:
    assert degrade(ground, "pairs", physics=foreign(ground, body)) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1
    assert not (ground / "pairs").exists()


def test_physics_that_fails_on_one_picture_costs_no_other(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = "return x if x.shape[-1] != 44 else {}['width']"
    assert degrade(ground, "pairs", physics=foreign(ground, body)) == 1
    assert "002.png': expected one that the physics takes, got KeyError" in capsys.readouterr().err
    assert len(list((ground / "pairs" / "degraded").iterdir())) == 3


def test_a_name_that_is_too_long_costs_no_other(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ground / "clear" / "000.png").rename(ground / "clear" / f"{'n' * 250}.png")
    assert degrade(ground, "pairs") == 1
    assert "too long" in capsys.readouterr().err
    assert len(list((ground / "pairs" / "degraded").iterdir())) == 3


def test_nothing_is_replaced(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert degrade(ground, "pairs") == 0
    before = files(ground / "pairs")
    assert degrade(ground, "pairs", "--seed", "9") == 2
    error = capsys.readouterr().err
    assert "the same physics, channels and seed, to go on with, got pairs of other seed" in error
    assert files(ground / "pairs") == before
    assert (
        main(
            [
                "degrade",
                str(ground / "clear"),
                "--physics",
                "deblur-text",
                "--output",
                str(ground / "clear"),
            ]
        )
        == 2
    )
    assert "one that holds something else" in capsys.readouterr().err


def test_two_pictures_of_one_name(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "clear" / "more").mkdir()
    write_picture(ground / "clear" / "more" / "001.png", torch.rand(3, 20, 20))
    assert degrade(ground, "pairs") == 1
    assert "names that differ before the ending" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["", "[]\n", "null\n", '{"seed": "abc"}\n', '{"recipe": "x", "seed": 0}\n"name"\n', "{\n"],
)
def test_a_broken_manifest(ground: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (ground / "broken.jsonl").write_text(content, encoding="utf-8")
    assert degrade(ground, "pairs", physics="broken.jsonl") == 1
    err = capsys.readouterr().err
    assert "one that `physgan degrade` wrote" in err
    assert err.count("\n") == 1


# ---------------------------------------------------------------- what of a folder may stay


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_another_picture_of_a_name_is_degraded_anew(ground: Path) -> None:
    assert degrade(ground, "pairs") == 0
    before = files(ground / "pairs")
    write_picture(ground / "clear" / "001.png", torch.rand(3, 41, 42))
    assert degrade(ground, "pairs") == 0
    assert degrade(ground, "anew") == 0
    after = files(ground / "pairs")
    assert after == files(ground / "anew")
    pair = {f"{part}/001" for part in ("clean", "degraded", "theta")}
    assert {name.partition(".")[0] for name in changed(before, after)} == {"manifest", *pair} - {
        "theta/001"  # which depends on seed and name alone
    }


@pytest.mark.parametrize("part", ["clean/002.png", "degraded/002.png", "theta/002.safetensors"])
def test_a_pair_that_was_damaged_is_made_anew(ground: Path, part: str) -> None:
    assert degrade(ground, "pairs") == 0
    before = files(ground / "pairs")
    (ground / "pairs" / part).write_bytes(before[part][: len(before[part]) // 2])
    assert degrade(ground, "pairs") == 0
    assert files(ground / "pairs") == before
    shutil.copyfile(
        ground / "pairs" / "degraded" / "003.png", ground / "pairs" / "degraded/002.png"
    )
    (ground / "clear" / "002.png").unlink()  # so that it cannot be made anew
    assert degrade(ground, "pairs") == 0
    names = (ground / "pairs" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    assert [json.loads(line)["name"] for line in names] == ["000", "001", "003"]


def test_a_pair_stands_without_its_source(ground: Path) -> None:
    assert degrade(ground, "pairs") == 0
    before = files(ground / "pairs")
    (ground / "clear" / "001.png").write_bytes(b"")
    assert degrade(ground, "pairs") == 1
    assert files(ground / "pairs") == before
    (ground / "pairs" / "degraded" / "001.png").write_bytes(b"")
    assert degrade(ground, "pairs") == 1
    assert '"001"' not in (ground / "pairs" / "manifest.jsonl").read_text(encoding="utf-8")


def test_a_manifest_of_before_files_were_told_is_gone_on_with(ground: Path) -> None:
    (ground / "kernels").mkdir()
    np.save(ground / "kernels" / "a.npy", np.ones((3, 3), np.float32))
    raw = yaml.safe_load((ground / "tiny.yaml").read_text(encoding="utf-8"))
    kernels = {"name": "measured", "arguments": {"path": str(ground / "kernels")}}
    raw["physics"]["stages"]["blur"]["sampler"] = kernels
    (ground / "measured.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert degrade(ground, "pairs", physics="measured.yaml") == 0
    manifest = ground / "pairs" / "manifest.jsonl"
    head, *lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    older = {name: value for name, value in json.loads(head).items() if name != "files"}
    manifest.write_text("".join([json.dumps(older) + "\n", *lines]), encoding="utf-8")
    assert degrade(ground, "pairs", physics="measured.yaml") == 0


def test_pairs_of_other_versions_are_made_anew(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert degrade(ground, "pairs") == 0
    before = files(ground / "pairs")
    manifest = ground / "pairs" / "manifest.jsonl"
    head, *lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    head = json.dumps(json.loads(head) | {"torch": "1.0"}) + "\n"
    manifest.write_text(head + "".join(lines), encoding="utf-8")
    (ground / "clear" / "003.png").rename(ground / "003.png")
    assert degrade(ground, "pairs") == 2
    assert "to make them anew (torch 1.0 then" in (error := capsys.readouterr().err)
    assert "got 1 pairs without, such as '003'" in error
    (ground / "003.png").rename(ground / "clear" / "003.png")
    old = (ground / "pairs" / "degraded" / "000.png").stat().st_mtime_ns
    assert degrade(ground, "pairs") == 0
    assert "all pairs are made anew: torch 1.0 then" in capsys.readouterr().err
    assert files(ground / "pairs") == before
    assert (ground / "pairs" / "degraded" / "000.png").stat().st_mtime_ns > old


# ---------------------------------------------------------------- physics with files of its own


@pytest.fixture
def kernels(ground: Path) -> Path:
    raw = yaml.safe_load((ground / "tiny.yaml").read_text(encoding="utf-8"))
    sampler = {"name": "measured", "arguments": {"path": str(ground / "kern")}}
    raw["physics"]["stages"]["blur"]["sampler"] = sampler
    (ground / "kern.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    (ground / "kern").mkdir()
    for seed in range(2):
        np.save(ground / "kern" / f"{seed}.npy", np.random.default_rng(seed).random((5, 5)))
    return ground


def test_known_parameters_need_no_files(kernels: Path) -> None:
    assert degrade(kernels, "pairs", physics="kern.yaml") == 0
    (kernels / "kern").rename(kernels / "elsewhere")
    pairs = kernels / "pairs"
    assert main(["check-physics", str(pairs)]) == 0
    weights = small_weights(kernels / "w.safetensors")
    network, info = load_weights(weights)
    head = (pairs / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0]
    carried = {"name": "kern", "physics": json.loads(head)["physics"]}
    save_weights(weights, network.state_dict(), dataclasses.replace(info, recipe=carried))
    of = ("--degraded", pairs / "degraded", "--clean", pairs / "clean", "--theta", pairs / "theta")
    by = ("--weights", weights, "--device", "cpu", "--output")
    assert main(["evaluate", *map(str, (*of, *by, kernels / "one"))]) == 0
    manifest = ("--physics", pairs / "manifest.jsonl")
    assert main(["evaluate", *map(str, (*of, *manifest, *by, kernels / "two"))]) == 0


def test_a_manifest_says_where_its_files_must_be(
    kernels: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert degrade(kernels, "pairs", physics="kern.yaml") == 0
    assert str(kernels) not in (kernels / "pairs" / "manifest.jsonl").read_text(encoding="utf-8")
    assert degrade(kernels, "again", physics="pairs/manifest.jsonl") == 2
    assert "run this where 'kern' lies, or name the recipe" in capsys.readouterr().err
    monkeypatch.chdir(kernels)
    assert degrade(kernels, "again", physics="pairs/manifest.jsonl") == 0
    assert files(kernels / "again") == files(kernels / "pairs")
    np.save(kernels / "kern" / "1.npy", np.ones((3, 3)))
    assert degrade(kernels, "third", physics="pairs/manifest.jsonl") == 2
    assert "'kern' in the folder where this is run, as it was" in capsys.readouterr().err
    assert not (kernels / "third").exists()


def test_pairs_of_other_kernels_are_not_gone_on_with(
    kernels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert degrade(kernels, "pairs", physics="kern.yaml") == 0
    before = files(kernels / "pairs")
    (kernels / "kern" / ".hidden").write_text("of the system", encoding="utf-8")
    assert degrade(kernels, "pairs", physics="kern.yaml") == 0
    np.save(kernels / "kern" / "1.npy", np.ones((3, 3)))
    assert degrade(kernels, "pairs", physics="kern.yaml") == 2
    assert "got pairs of other files that the physics names" in capsys.readouterr().err
    assert files(kernels / "pairs") == before


# ---------------------------------------------------------------- depth that was measured


@pytest.fixture
def scenes(ground: Path) -> Path:
    recipe = (ground / "tiny.yaml").read_text(encoding="utf-8")
    raw = yaml.safe_load(recipe)
    raw["physics"] = {"stages": {"haze": {"operator": "depth_haze", "sampler": "hazy_scenes"}}}
    (ground / "haze.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    (ground / "maps").mkdir()
    for index, path in enumerate(sorted((ground / "clear").iterdir())):
        h, w = read_8bit(path).shape[-2:]
        values = np.random.default_rng(index).random((h, w), dtype=np.float32) + 0.1
        np.save(ground / "maps" / f"{path.stem}.npy", values)
    return ground


def test_haze_over_depth_that_was_measured(scenes: Path) -> None:
    more = ("--depth", str(scenes / "maps"))
    assert degrade(scenes, "pairs", *more, physics="haze.yaml") == 0
    for pair in read_pairs(scenes / "pairs" / "degraded", scenes / "pairs" / "clean"):
        values = np.load(scenes / "maps" / f"{pair.name}.npy")
        theta = load_theta(scenes / "pairs" / "theta" / f"{pair.name}.safetensors")["haze"]
        assert np.allclose(theta["depth"][0, 0].numpy() / values, 1 / values.max(), rtol=1e-2)
        t = torch.exp(-theta["beta"] * theta["depth"])
        y = pair.x * t + theta["airlight"][:, :, None, None] * (1 - t)
        assert float((y - pair.y).abs().max()) <= 0.5 / 255 + 1e-5
    again = "pairs/manifest.jsonl"
    assert degrade(scenes, "again", *more, physics=again) == 0
    assert files(scenes / "again") == files(scenes / "pairs")
    assert degrade(scenes, "other", *more, "--depth-kind", "disparity", physics=again) == 0
    assert files(scenes / "other") != files(scenes / "pairs")


def test_a_picture_without_a_map_costs_no_other_its_pair(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "maps" / "001.npy").unlink()
    assert degrade(scenes, "pairs", "--depth", str(scenes / "maps"), physics="haze.yaml") == 1
    assert "depth of" in (error := capsys.readouterr().err)
    assert "expected a map called '001'" in error
    assert {path.stem for path in (scenes / "pairs" / "degraded").iterdir()} == {
        "000",
        "002",
        "003",
    }


def test_other_depth_under_a_name_makes_its_pair_anew(scenes: Path) -> None:
    more = ("--depth", str(scenes / "maps"))
    assert degrade(scenes, "pairs", *more, physics="haze.yaml") == 0
    before = files(scenes / "pairs")
    assert degrade(scenes, "pairs", *more, physics="haze.yaml") == 0
    assert files(scenes / "pairs") == before
    values = np.load(scenes / "maps" / "002.npy")
    np.save(scenes / "maps" / "002.npy", values[::-1])
    assert degrade(scenes, "pairs", *more, physics="haze.yaml") == 0
    new = {"degraded/002.png", "theta/002.safetensors", "manifest.jsonl"}
    assert changed(before, files(scenes / "pairs")) == new


def test_the_variable_and_what_was_not_measured(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((scenes / "maps").iterdir()):
        values = np.load(path)
        planted = values.copy()
        planted[3:5, 3:5] = 99.0
        scipy.io.savemat(path.with_suffix(".mat"), {"near": 1 / values, "far": planted})
        path.unlink()
    more = ("--depth", str(scenes / "maps"))
    assert degrade(scenes, "pairs", *more, physics="haze.yaml") == 1
    assert "--depth-variable NAME" in capsys.readouterr().err
    named = ("--depth-variable", "far", "--depth-invalid", "99")
    assert degrade(scenes, "pairs", *more, *named, physics="haze.yaml") == 2  # read otherwise
    assert degrade(scenes, "named", *more, *named, physics="haze.yaml") == 0
    depth = load_theta(scenes / "named" / "theta" / "000.safetensors")["haze"]["depth"]
    assert float(depth[0, 0, 3, 3]) < 1
    assert float(depth.mean()) > 0.3
    assert degrade(scenes, "again", *more, physics="named/manifest.jsonl") == 0
    assert files(scenes / "again") == files(scenes / "named")
    for value in ("nan", "inf"):
        wrong = ("--depth-invalid", value)
        assert degrade(scenes, "other", *more, *wrong, physics="haze.yaml") == 2
        assert "--depth-invalid: expected a finite number" in capsys.readouterr().err
    assert degrade(scenes, "other", "--depth-variable", "far", physics="haze.yaml") == 2
    assert "--depth-variable: expected --depth FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    "depth", [{}, {"kind": "depth"}, {"kind": "height", "placed": "scaled"}, {"placed": 3}, "depth"]
)
def test_a_manifest_with_broken_depth(
    scenes: Path, capsys: pytest.CaptureFixture[str], depth: object
) -> None:
    more = ("--depth", str(scenes / "maps"))
    assert degrade(scenes, "pairs", *more, physics="haze.yaml") == 0
    manifest = scenes / "pairs" / "manifest.jsonl"
    head = json.loads(manifest.read_text(encoding="utf-8").splitlines()[0]) | {"depth": depth}
    manifest.write_text(json.dumps(head) + "\n", encoding="utf-8")
    assert degrade(scenes, "again", *more, physics="pairs/manifest.jsonl") == 1
    assert "one that `physgan degrade` wrote" in capsys.readouterr().err


def halved_before_haze(scenes: Path, *, haze_first: bool) -> str:
    raw = yaml.safe_load((scenes / "haze.yaml").read_text(encoding="utf-8"))
    stages = raw["physics"]["stages"]
    half = {"operator": {"name": "bicubic", "arguments": {"scale": 2}}, "sampler": "nothing"}
    both = {**stages, "half": half} if haze_first else {"half": half, **stages}
    raw["physics"]["stages"] = both
    (scenes / "both.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return "both.yaml"


def test_depth_of_another_size_than_haze_sees_is_one_early_error(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--depth", str(scenes / "maps"))
    assert (
        degrade(scenes, "pairs", *more, physics=halved_before_haze(scenes, haze_first=False)) == 2
    )
    assert capsys.readouterr().err.count("\n") == 1
    assert not (scenes / "pairs").exists()


def test_the_clean_pictures_make_the_same_pairs_again_with_their_depth(scenes: Path) -> None:
    write_picture(scenes / "clear" / "odd.png", torch.rand(3, 31, 41))
    np.save(scenes / "maps" / "odd.npy", np.random.default_rng(9).random((62, 82)) + 0.1)
    more = ("--depth", str(scenes / "maps"))
    physics = halved_before_haze(scenes, haze_first=True)
    assert degrade(scenes, "pairs", *more, physics=physics) == 0
    argv = [str(scenes / "pairs" / "clean"), *more, "--output", str(scenes / "again")]
    manifest = ["--physics", str(scenes / "pairs" / "manifest.jsonl")]
    assert main(["degrade", *argv, *manifest]) == 0
    assert files(scenes / "again") == files(scenes / "pairs")


def test_depth_that_nothing_takes_or_that_is_not_there(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = ("--depth", str(scenes / "maps"))
    assert degrade(scenes, "pairs", *maps) == 2
    assert "expected a physics with depth" in capsys.readouterr().err
    assert degrade(scenes, "pairs", "--depth-kind", "disparity", physics="haze.yaml") == 2
    assert "--depth-kind: expected --depth FOLDER" in capsys.readouterr().err
    assert degrade(scenes, "pairs", "--depth", str(scenes / "gone"), physics="haze.yaml") == 1
    assert "nothing of that name" in capsys.readouterr().err
    assert not (scenes / "pairs").exists()
    assert degrade(scenes, "pairs", *maps, physics="haze.yaml") == 0
    assert degrade(scenes, "again", physics="pairs/manifest.jsonl") == 2
    assert "depth of the manifest: expected --depth FOLDER" in capsys.readouterr().err
