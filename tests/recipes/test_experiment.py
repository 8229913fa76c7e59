"""A recipe carried out from Python: what it leaves, and what it refuses before it trains."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from physgan import load_recipe, load_weights, train_recipe
from physgan.errors import ImageError, RecipeError, TrainingError, WeightsError
from physgan.networks import UNet
from physgan.recipes.build import build_degradation, build_generator
from physgan.recipes.experiment import (
    CARD,
    LOG,
    RECIPE,
    START,
    WEIGHTS,
    _curve,
    _pictures,
    joined_licences,
)
from physgan.weights.file import save_weights
from tests.training.tiny import draw_pictures, records, write_picture, write_recipe


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    draw_pictures(tmp_path / "pictures", 5)
    write_recipe(tmp_path)
    return tmp_path


def carry_out(ground: Path, *overrides: str) -> Path:
    recipe = load_recipe(ground / "tiny.yaml", [f"--data.train={ground / 'pictures'}", *overrides])
    train_recipe(recipe, ground / "run", device="cpu")
    return ground / "run"


def test_a_run_from_python_leaves_everything(ground: Path) -> None:
    run = carry_out(ground, "--training.schedule={constant: 3, decay: 0}")
    assert {RECIPE, LOG, WEIGHTS, CARD} <= {path.name for path in run.iterdir()}
    assert [r["step"] for r in records(run) if r["kind"] == "train"] == [3]
    restorer, info = load_weights(run / WEIGHTS)
    assert restorer.channels == 3
    assert isinstance(info.recipe, dict)
    assert info.recipe["name"] == "tiny"
    # The header goes to strangers, whom our folders do not concern.
    assert str(ground) not in str(vars(info))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--data.crop=34", "multiple of 4"),
        ("--data.crop=16", "crops that all networks take"),
    ],
)
def test_crops_that_do_not_fit_are_refused_before_training(
    ground: Path, override: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        carry_out(ground, override)
    assert not (ground / "run" / RECIPE).exists()


def test_a_generator_of_another_size_is_refused(ground: Path) -> None:
    (ground / "shrinking.py").write_text(
        "from torch import nn\n"
        "class Shrinking(nn.Conv2d):\n"
        "    channels, scale, multiple_of = 3, 1, 1\n"
        "    receptive_field, global_statistics = 3, False\n"
        "    def __init__(self):\n"
        "        super().__init__(3, 3, 3)\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError, match=r"\(1, 3, 32, 32\) from .* got \(1, 3, 30, 30\)"):
        carry_out(ground, f"--generator='{ground / 'shrinking.py'}:Shrinking'")


def test_the_next_is_held_out_for_a_picture_that_cannot_be_read(
    ground: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = load_recipe(ground / "tiny.yaml", [f"--data.train={ground / 'pictures'}"])
    physics = build_degradation(recipe.physics)
    stream, held = _pictures(recipe, physics)
    first = held[0][0]
    (ground / "pictures" / f"{int(first):03d}.png").write_bytes(b"no picture")
    again, others = _pictures(recipe, physics)
    assert f"{int(first):03d}.png" in caplog.text
    assert "passed over: picture file" in caplog.text
    names = {name for name, *_ in others}
    assert first not in names
    assert held[1][0] in names
    assert len(names) == 2
    assert len(again.indices) == len(stream.indices)
    assert names.isdisjoint(f"{index:06d}" for index in again.indices)


def test_haze_takes_the_depth_that_was_measured(
    ground: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A physics that is content only with a depth that is its picture's first channel.
    (ground / "checked.py").write_text(
        "from pathlib import Path\n"
        "import torch\n"
        "from physgan.physics.haze import DepthHaze\n"
        "class Checked(DepthHaze):\n"
        "    def __call__(self, x, theta):\n"
        "        if not x.requires_grad:\n"
        "            assert torch.allclose(theta['depth'], x[:, :1], atol=1e-3)\n"
        "            with Path(__file__).with_name('seen').open('a') as file:\n"
        "                file.write('.')\n"
        "        return super().__call__(x, theta)\n",
        encoding="utf-8",
    )
    for index in range(5):
        pixels = np.random.default_rng(index).integers(1, 256, (40, 48, 3), dtype=np.uint8)
        pixels[0, 0] = 255  # the farthest, to which maps are scaled
        for folder, values in (("rgb", pixels), ("maps", pixels[..., 0])):
            (ground / folder).mkdir(exist_ok=True)
            Image.fromarray(values).save(ground / folder / f"{index}.png")
    depth_files = {"folder": str(ground / "rgb"), "maps": str(ground / "maps")}
    stage = {"operator": f"{ground / 'checked.py'}:Checked", "sampler": "hazy_scenes"}
    recipe = load_recipe(
        ground / "tiny.yaml",
        [
            "--data.train=null",
            f"--data.pictures={json.dumps({'name': 'depth_files', 'arguments': depth_files})}",
            f"--physics={json.dumps({'stages': {'haze': stage}})}",
            "--training.schedule={constant: 2, decay: 0}",
        ],
    )
    with caplog.at_level("INFO", logger="physgan"):
        train_recipe(recipe, ground / "run", device="cpu")
    assert "depth measured with the pictures: haze" in caplog.messages
    # Three times in the trial, for the two held-out pairs, and in the two steps.
    assert (ground / "seen").read_text(encoding="utf-8") == "......."


def resume(ground: Path, *overrides: str, pictures: str = "pictures") -> Path:
    recipe = load_recipe(
        ground / "tiny.yaml",
        [
            f"--data.train={ground / pictures}",
            "--training.schedule={constant: 6, decay: 0}",
            *overrides,
        ],
    )
    train_recipe(recipe, ground / "run", resume=True, device="cpu")
    return ground / "run"


def test_a_run_goes_on_with_its_own_pictures_alone(ground: Path) -> None:
    carry_out(ground, "--training.schedule={constant: 3, decay: 0}")
    (ground / "pictures").rename(ground / "elsewhere")
    resume(ground, pictures="elsewhere")
    assert records(ground / "run")[-1]["step"] == 6
    (ground / "elsewhere" / "000.png").rename(ground / "elsewhere" / "zzz.png")
    with pytest.raises(TrainingError, match="training pictures of the run"):
        resume(ground, "--training.schedule={constant: 9, decay: 0}", pictures="elsewhere")


def test_a_published_set_may_move_and_leaves_no_path_in_the_weights(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ground)

    def carry_on(folder: str, steps: int) -> Path:
        pictures = f"{{name: coco, arguments: {{folder: {folder}}}}}"
        schedule = f"{{constant: {steps}, decay: 0}}"
        overrides = [f"--data.pictures={pictures}", f"--training.schedule={schedule}"]
        recipe = load_recipe(ground / "tiny.yaml", overrides)
        train_recipe(recipe, ground / "run", resume=True, device="cpu")
        return ground / "run"

    (ground / "coco").mkdir()
    (ground / "pictures").rename(ground / "coco" / "train2014")
    run = carry_on("coco", 2)
    kept = load_recipe(run / RECIPE).data.pictures
    assert kept is not None
    assert kept.arguments == {"folder": str(ground / "coco")}
    info = load_weights(run / WEIGHTS)[1]
    assert str(ground) not in str(vars(info))
    assert "'folder': 'coco'" in str(vars(info))
    (ground / "coco").rename(ground / "moved")
    assert records(carry_on("moved", 4))[-1]["step"] == 4


def test_the_recipe_of_the_steps_so_far_is_kept(ground: Path) -> None:
    run = carry_out(ground, "--training.schedule={constant: 3, decay: 0}")
    first = (run / RECIPE).read_text(encoding="utf-8")
    resume(ground, "--optimiser.lr=0.001")
    assert (run / "recipe-until-step-3.yaml").read_text(encoding="utf-8") == first
    assert load_recipe(run / RECIPE).optimiser.lr == 0.001


FOREIGN = """
from physgan.networks import UNet

def Own(*, channels=3, scale=1):
    return UNet(channels=channels, scale=scale, widths=(4,), blocks=(1,))
"""


def test_weights_of_foreign_code_load_into_a_network_of_the_caller(ground: Path) -> None:
    (ground / "own.py").write_text(FOREIGN, encoding="utf-8")
    name = f"{ground / 'own.py'}:Own"
    run = carry_out(ground, f"--generator='{name}'", "--training.schedule={constant: 2, decay: 0}")
    with pytest.raises(WeightsError, match=r"load_weights\(path, network="):
        load_weights(run / WEIGHTS)
    recipe = load_recipe(run / RECIPE)
    network = build_generator(recipe.generator, channels=3, scale=1, seed=0)
    assert isinstance(network, UNet)
    loaded, info = load_weights(run / WEIGHTS, network=network)
    assert loaded is network
    assert info.architecture == "own.py:Own"  # where it lay on this machine stays here
    assert str(ground) not in str(vars(info))


def test_trying_the_networks_leaves_them_as_they_were(ground: Path) -> None:
    (ground / "counting.py").write_text(
        "from torch import nn\n"
        "class Counting(nn.Module):\n"
        "    channels, scale, multiple_of = 3, 1, 1\n"
        "    receptive_field, global_statistics = 1, False\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.norm = nn.BatchNorm2d(3)\n"
        "    def forward(self, y):\n"
        "        return self.norm(y)\n",
        encoding="utf-8",
    )
    run = carry_out(
        ground,
        f"--generator='{ground / 'counting.py'}:Counting'",
        "--objective.mu=0",
        "--training.schedule={constant: 2, decay: 0}",
    )
    recipe = load_recipe(run / RECIPE)
    network = build_generator(recipe.generator, channels=3, scale=1, seed=0)
    load_weights(run / WEIGHTS, network=network)
    assert int(network.state_dict()["norm.num_batches_tracked"]) == 2


def test_pairs_that_ssim_cannot_take_are_found_before_training(ground: Path) -> None:
    for place in ("y", "x"):
        (ground / place).mkdir()
        write_picture(ground / place / "a.png", torch.rand(3, 8, 8))
    pairs = f"{{degraded: '{ground / 'y'}', clean: '{ground / 'x'}'}}"
    with pytest.raises(ImageError, match="at least 11 pixels"):
        carry_out(ground, f"--data.pairs={pairs}")


def test_an_edited_file_is_read_again(ground: Path) -> None:
    path = ground / "own.py"
    for width in (4, 6):
        path.write_text(FOREIGN.replace("(4,)", f"({width},)"), encoding="utf-8")
        os.utime(path, ns=(width * 10**9, width * 10**9))
        recipe = load_recipe(ground / "tiny.yaml", [f"--generator='{path}:Own'"])
        network = build_generator(recipe.generator, channels=3, scale=1, seed=0)
        assert network.get_parameter("stem.weight").shape[0] == width


def test_a_stage_of_a_sensor_must_draw_too(ground: Path) -> None:
    (ground / "half.py").write_text(
        "class Half:\n    def __call__(self, y, theta, *, generator):\n        return y\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError, match=r"physgan\.types\.Sensor"):
        carry_out(ground, f"--physics.sensor=['{ground / 'half.py'}:Half']")


# ---------------------------------------------------------------- beginning from weights


NO_STEP = "--training.schedule={constant: 1, decay: 0}"


def test_a_run_begins_from_weights(ground: Path) -> None:
    first = carry_out(ground, NO_STEP, "--seed=3").rename(ground / "first")
    # A learning rate too small to move: what comes out is what went in.
    options = [NO_STEP, f"--training.start={first}", "--optimiser.lr=1e-20", "--training.ema=0"]
    run = carry_out(ground, *options, "--data.licence=CC0")
    (before, old), (after, new) = load_weights(first / WEIGHTS), load_weights(run / WEIGHTS)
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])
    came_from = new.training["began_from"]
    assert isinstance(came_from, dict)
    assert came_from["sha256"] == hashlib.sha256((first / WEIGHTS).read_bytes()).hexdigest()
    assert (came_from["seed"], came_from["steps"]) == (3, 1)
    assert came_from["recipe"] == old.recipe
    assert new.licence == "CC0; begun from weights of licence: unknown"
    assert str(ground) not in str(new)
    assert "Began from" in (run / CARD).read_text(encoding="utf-8")


def test_a_run_goes_on_without_the_weights_that_it_began_from(ground: Path) -> None:
    first = carry_out(ground, NO_STEP).rename(ground / "first")
    carry_out(ground, NO_STEP, f"--training.start={first}")
    header = load_weights(ground / "run" / WEIGHTS)[1].training
    shutil.rmtree(first)
    run = resume(ground, f"--training.start={first}")
    assert load_weights(run / WEIGHTS)[1].training["began_from"] == header["began_from"]
    with pytest.raises(TrainingError, match=r"another training\.start"):
        resume(ground)


def test_two_looks_begin_from_the_weights_of_one(ground: Path) -> None:
    """What fits a part of the generator fills that part."""
    sizes = "arguments: {widths: [4, 6], blocks: [1, 1]%s}"
    one = "--generator={name: unet, " + sizes % "" + "}"
    two = "--generator={name: blind_deconvolution, " + sizes % ", side: 5" + "}"
    still = [NO_STEP, "--optimiser.lr=1e-20", "--training.ema=0"]
    first = carry_out(ground, one, NO_STEP).rename(ground / "first")
    run = carry_out(ground, two, *still, f"--training.start={first}")
    (before, _), (after, info) = load_weights(first / WEIGHTS), load_weights(run / WEIGHTS)
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[f"first.{name}"])
    came_from = info.training["began_from"]
    assert isinstance(came_from, dict)
    assert came_from["filled"] == "first"


def test_weights_to_begin_from_must_fit(ground: Path) -> None:
    first = carry_out(ground, NO_STEP).rename(ground / "first")
    for start, message in (
        (first, "exactly those"),
        (ground / "none.safetensors", "nothing there"),
    ):
        with pytest.raises(WeightsError, match=message):
            carry_out(ground, f"--training.start={start}", "--generator=unet")
        assert not (ground / "run").exists()


def test_the_curve_is_thinned_and_keeps_its_end(tmp_path: Path) -> None:
    lines = [{"kind": "validation", "step": i, "psnr": float(i)} for i in range(1, 102)]
    lines[7]["psnr"] = None
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = _curve(tmp_path, points=10)
    assert len(curve) <= 11
    assert curve[0] == {"step": 1, "psnr": 1.0}
    assert curve[-1] == {"step": 101, "psnr": 101.0}
    assert len(_curve(tmp_path, points=200)) == 101
    assert _curve(tmp_path / "none") == []


def test_a_start_that_nothing_came_of_is_not_taken_up(ground: Path) -> None:
    """A run killed before its first checkpoint leaves its copy, which another start replaces."""
    first = carry_out(ground, NO_STEP, "--seed=3").rename(ground / "first")
    second = carry_out(ground, NO_STEP, "--seed=4").rename(ground / "second")
    (ground / "run").mkdir()
    shutil.copy(first / WEIGHTS, ground / "run" / START)
    run = resume(ground, f"--training.start={second}")
    came_from = load_weights(run / WEIGHTS)[1].training["began_from"]
    assert isinstance(came_from, dict)
    assert came_from["sha256"] == hashlib.sha256((second / WEIGHTS).read_bytes()).hexdigest()


def test_a_header_cannot_tell_its_own_licence_anew(ground: Path) -> None:
    first = carry_out(ground, NO_STEP, "--data.licence=research only").rename(ground / "first")
    network, info = load_weights(first / WEIGHTS)
    lying = dataclasses.replace(info, training={"licence": "CC0", "sha256": "x"})
    save_weights(first / WEIGHTS, network.state_dict(), lying)
    run = carry_out(ground, NO_STEP, f"--training.start={first}", "--data.licence=CC0")
    header = load_weights(run / WEIGHTS)[1]
    assert header.licence == "CC0; begun from weights of licence: research only"


def test_drawn_pictures_tell_what_they_allow_and_others_do_not(ground: Path) -> None:
    drawn = "--data.pictures={name: text_pages, arguments: {count: 8, side: 48}}"
    recipe = load_recipe(ground / "tiny.yaml", [drawn, NO_STEP])
    train_recipe(recipe, ground / "drawn", device="cpu")
    assert load_weights(ground / "drawn" / WEIGHTS)[1].licence.startswith("Apache-2.0")
    assert load_weights(carry_out(ground, NO_STEP) / WEIGHTS)[1].licence == "unknown"
    with pytest.raises(RecipeError, match=r"--data\.pictures null"):
        carry_out(ground, drawn)


def test_the_header_tells_arithmetic_and_no_places(ground: Path) -> None:
    (ground / "fade.py").write_text(
        "class Fade:\n"
        "    scale = 1\n"
        "    def __init__(self, path):\n"
        "        pass\n"
        "    def __call__(self, x, theta):\n"
        "        return x * 0.5\n"
        "class Nothing:\n"
        "    def sample(self, x, *, generator):\n"
        "        return {}\n",
        encoding="utf-8",
    )
    operator = f"{{name: '{ground}/fade.py:Fade', arguments: {{path: '{ground}/secret'}}}}"
    stages = f"{{fade: {{operator: {operator}, sampler: '{ground}/fade.py:Nothing'}}}}"
    run = carry_out(ground, NO_STEP, f"--physics.stages={stages}")
    info = load_weights(run / WEIGHTS)[1]
    assert str(ground) not in str(vars(info))
    assert "fade.py:Fade" in str(info.recipe)
    assert info.training["arithmetic"] == "fp32 on cpu"
    assert info.training["torch"] == torch.__version__


def test_other_arithmetic_is_told_when_a_run_goes_on(
    ground: Path, caplog: pytest.LogCaptureFixture
) -> None:
    carry_out(ground, NO_STEP)
    resume(ground, "--training.precision=bf16")
    assert "was in fp32 on cpu and goes on in bf16 on cpu" in caplog.text


def test_licences_of_a_long_line_are_told_once_each() -> None:
    first = joined_licences("research only", "research only")
    assert first == "research only"
    faces = joined_licences("faces", joined_licences("faces", joined_licences("views", first)))
    assert faces == (
        "faces; begun from weights of licence: views; begun from weights of licence: research only"
    )
