"""Names of a recipe that become objects: our own, foreign ones, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, nn

from physgan.data.synthesis import synthesise
from physgan.errors import RecipeError
from physgan.physics.blur import Blur, DiscKernels
from physgan.recipes.build import (
    OPERATORS,
    PICTURES,
    SAMPLERS,
    SENSOR_STAGES,
    build,
    build_degradation,
    build_discriminator,
    build_generator,
    build_objective,
    build_pictures,
    checked_arguments,
    picture_paths,
    resolve,
)
from physgan.recipes.load import load_recipe, parse_recipe, shipped_recipes
from physgan.recipes.schema import Component, ObjectiveSpec, Physics
from physgan.recipes.trial import try_physics
from physgan.types import Operator, RestoreFn, Sampler
from tests.data.files import save
from tests.data.test_mat import save_73

FOREIGN = '''
"""Light that fades from left to right."""
import torch

class Fade:
    scale = 1
    def __call__(self, x, theta):
        return x * theta["gain"][:, None, None, None]

class DrawnGain:
    def __init__(self, least: float = 0.5):
        self.least = least
    def sample(self, x, *, generator):
        return {"gain": torch.rand(x.shape[0], generator=generator) * (1 - self.least) + self.least}

class NoScale:
    def __call__(self, x, theta):
        return x

def net(channels: int = 3, width: int = 2):
    return Net(channels, width)

class Net(torch.nn.Module):
    scale, multiple_of, receptive_field, global_statistics = 1, 1, 3, False
    def __init__(self, channels, width):
        super().__init__()
        self.channels = channels
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)
    def forward(self, y):
        return self.conv(y)

def not_a_network(channels: int = 3):
    return 5

number = 3
'''


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody else's in the current folder; its name."""
    name = f"foreign_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FOREIGN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    return name


def generator(name: str, *, channels: int = 3, scale: int = 1, **arguments: object) -> nn.Module:
    spec = Component(name=name, arguments=arguments)
    return build_generator(spec, channels=channels, scale=scale, seed=1)


def degraded_by(operator: object, sampler: object) -> Physics:
    return Physics.model_validate({"stages": {"a": {"operator": operator, "sampler": sampler}}})


# ---------------------------------------------------------------- ours


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_builds(name: str) -> None:
    recipe = load_recipe(name)
    degradation = build_degradation(recipe.physics)
    objective = build_objective(recipe.objective)
    assert objective.weights.content == recipe.objective.lambda_
    assert objective.weights.physics == recipe.objective.gamma
    assert objective.weights.second_content == recipe.objective.mu
    assert objective.matched == recipe.objective.matched
    network = build_generator(
        recipe.generator,
        channels=recipe.data.channels,
        scale=degradation.operator.scale,
        seed=recipe.seed,
    )
    assert isinstance(network, RestoreFn)
    assert recipe.data.crop % (network.multiple_of * network.scale) == 0
    judge = build_discriminator(recipe.discriminator, channels=recipe.data.channels, seed=1)
    side = 64 * degradation.operator.scale
    assert recipe.data.crop * 2 > side
    x = torch.rand(1, recipe.data.channels, side, side, generator=Generator().manual_seed(1))
    batch = synthesise(x, degradation, generator=Generator().manual_seed(2))
    assert batch.y.shape[-1] == 64
    assert judge(batch.y).shape[:2] == (1, 1)
    assert batch.theta.keys() == {*recipe.physics.stages, "sensor"}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_of_the_table_is_one(name: str) -> None:
    assert isinstance(build(Component(name=name), OPERATORS, kind="operator"), Operator)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_of_the_table_is_one(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "kernel.npy", np.ones((3, 3)))
    arguments = {"measured": {"path": str(tmp_path)}}.get(name, {})
    spec = Component(name=name, arguments=arguments)
    assert isinstance(build(spec, SAMPLERS, kind="sampler"), Sampler)


@pytest.mark.parametrize("name", SENSOR_STAGES)
def test_every_stage_of_a_sensor_samples_and_acts(name: str) -> None:
    stage = build(Component(name=name), SENSOR_STAGES, kind="stage of a sensor")
    y, draws = torch.rand(2, 3, 4, 4), Generator().manual_seed(1)
    assert stage(y, stage.sample(y, generator=draws), generator=draws).shape == y.shape


def sets(root: Path) -> list[tuple[Component, int, set[str]]]:
    """Every set of pictures by name, laid out as published: members, and arguments of places."""
    save(root / "celeba" / "img_align_celeba" / "000001.jpg")
    text = "000001.jpg 0\n"
    (root / "celeba" / "list_eval_partition.txt").write_text(text, encoding="utf-8")
    save(root / "coco" / "val2017" / "1.jpg")
    (root / "coco" / "a.json").write_text('{"images": [{"file_name": "1.jpg"}]}', encoding="utf-8")
    for part in ("orig", "blur"):
        save(root / "text" / part / f"1_{part}.png")
    for i in range(2):
        save(root / "rgb" / f"{i}.png")
        save(root / "maps" / f"{i}.png", channels=1)
    save(root / "make3d" / "Train400Img" / "img-1.jpg")
    (root / "make3d" / "Train400Depth").mkdir()
    (root / "make3d" / "Train400Depth" / "depth_sph_corr-1.mat").touch()
    save_73(root / "n.mat", {"images": np.ones((4, 5, 3, 2)), "depths": np.ones((4, 5, 2))})
    table: list[tuple[str, dict[str, object], int, set[str]]] = [
        ("text_pages", {"count": 7}, 7, set()),
        ("celeba", {"folder": "celeba", "split": "train"}, 1, {"folder"}),
        (
            "coco",
            {"folder": "coco", "split": "val2017", "annotations": "coco/a.json"},
            1,
            {"folder", "annotations"},
        ),
        ("hradis", {"folder": "text"}, 1, {"folder"}),
        ("depth_files", {"folder": "rgb", "maps": "maps"}, 2, {"folder", "maps"}),
        ("hazed_pairs", {"hazy": "rgb", "clear": "rgb"}, 2, {"hazy", "clear"}),
        ("make3d", {"folder": "make3d"}, 1, {"folder"}),
        ("nyu", {"file": "n.mat"}, 2, {"file"}),
    ]
    assert {name for name, *_ in table} == set(PICTURES)
    return [(Component(name=n, arguments=a), count, places) for n, a, count, places in table]


def test_every_set_of_pictures_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for spec, count, places in sets(tmp_path):
        pictures = build_pictures(spec, channels=3)
        assert len(pictures) == count
        assert pictures.origin(0) == 0
        assert isinstance(pictures.identity(), str)
        assert set(picture_paths(spec)) == places
        json.dumps(spec.arguments)  # a recipe is plain data


def test_a_set_has_the_channels_of_the_recipe(tmp_path: Path) -> None:
    save(tmp_path / "train2014" / "1.jpg", 6, 8)
    spec = Component(name="coco", arguments={"folder": str(tmp_path)})
    assert build_pictures(spec, channels=1).read(0).shape == (1, 6, 8)
    assert build_pictures(spec, channels=3).read(0).shape == (3, 6, 8)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({}, r"'folder' of set of pictures 'celeba'.*got nothing"),
        ({"folder": "gone"}, r"set of pictures 'celeba', CelebA in 'gone'.*nothing of that name"),
        ({"folder": ".", "split": "all"}, r"'split' .*'train', 'val' or 'test', got 'all'"),
        (
            {"folder": ".", "file": "x"},
            r"field 'file' of set of pictures 'celeba'.*a field that exists",
        ),
    ],
)
def test_a_set_that_cannot_be_opened(arguments: dict[str, object], part: str) -> None:
    with pytest.raises(RecipeError, match=part):
        build_pictures(Component(name="celeba", arguments=arguments), channels=3)


def test_arguments_reach_what_is_built() -> None:
    chain = build_degradation(
        degraded_by(
            {"name": "blur", "arguments": {"boundary": "circular"}},
            {"name": "disc", "arguments": {"radius": [1, 2]}},
        )
    )
    operator, sampler = chain.operator.operators["a"], chain.samplers["a"]
    assert isinstance(operator, Blur)
    assert isinstance(sampler, DiscKernels)
    assert operator.boundary == "circular"
    assert sampler.radius == (1.0, 2.0)
    assert isinstance(sampler.radius, tuple)


def test_the_objective_s_weights_are_where_they_belong() -> None:
    spec = ObjectiveSpec.model_validate(
        {
            "gamma": 1,
            "lambda": 2,
            "mu": 3,
            "adversarial_clear": 4,
            "adversarial_observation": 5,
            "game": "log",
            "matched": False,
        }
    )
    objective = build_objective(spec)
    assert vars(objective.weights) == {
        "physics": 1,
        "content": 2,
        "second_content": 3,
        "adversarial_clear": 4,
        "adversarial_observation": 5,
    }
    assert (objective.game, objective.matched) == ("log", False)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("unet", {"widths": [8, 8], "blocks": [1, 1]}), ("resnet9", {"width": 4})],
)
def test_the_seed_decides_the_start_and_nothing_else_does(
    name: str, arguments: dict[str, object]
) -> None:
    spec = Component(name=name, arguments=arguments)

    def start(seed: int) -> list[torch.Tensor]:
        network = build_generator(spec, channels=3, scale=1, seed=seed)
        return list(network.state_dict().values())

    torch.manual_seed(5)
    first, after = start(1), torch.rand(3)
    torch.manual_seed(6)
    again = start(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # the caller's random numbers are as they were
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, start(2)))


def test_data_and_physics_decide_channels_and_scale() -> None:
    network = generator("unet", channels=1, scale=4, widths=[8], blocks=[1])
    assert isinstance(network, RestoreFn)
    assert (network.channels, network.scale) == (1, 4)
    judge = build_discriminator(
        Component(name="patchgan", arguments={"width": 2}), channels=1, seed=0
    )
    assert judge(torch.rand(1, 1, 32, 32)).shape == (1, 1, 2, 2)


# ---------------------------------------------------------------- foreign


@pytest.mark.parametrize("place", ["{name}", "{name}.py", "{folder}/{name}.py"])
def test_foreign_physics_by_import_path(foreign: str, place: str) -> None:
    place = place.format(name=foreign, folder=Path.cwd())
    chain = build_degradation(
        degraded_by(f"{place}:Fade", {"name": f"{place}:DrawnGain", "arguments": {"least": "0.25"}})
    )
    x = torch.rand(4, 3, 5, 5, generator=Generator().manual_seed(1))
    _, y, theta = synthesise(x, chain, generator=Generator().manual_seed(2))
    gain = theta["a"]["gain"]
    assert float(gain.min()) >= 0.25
    assert torch.equal(y, x * gain[:, None, None, None])


def test_a_foreign_network(foreign: str) -> None:
    network = generator(f"{foreign}:net", channels=1, width=3)
    assert network.channels == 1
    assert isinstance(network, RestoreFn)


def test_one_file_is_imported_once(foreign: str) -> None:
    path = Path(f"{foreign}.py")
    spec = f"{path}:Fade"
    first = resolve(spec, {}, kind="operator")
    assert resolve(f"{path.resolve()}:Fade", {}, kind="operator") is first


# ---------------------------------------------------------------- refusals


def sentence(refused: pytest.ExceptionInfo[RecipeError]) -> str:
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("haez", "Did you mean 'haze'?"),
        ("zzz", "one of bicubic, blur, blur_field, haze, depth_haze, rain, or module:attribute"),
        ("no_such_module_of_anybody:Fade", "ModuleNotFoundError: No module named"),
        ("no/such/file.py:Fade", "no file 'no/such/file.py'"),
        (":Fade", "ValueError"),
        (".relative:Fade", "TypeError"),
        ("math:pie", "AttributeError"),
        ("math:pi", "a class or a function that makes one, got float"),
        ("math:", "AttributeError"),
    ],
)
def test_what_cannot_be_found(name: str, part: str) -> None:
    with pytest.raises(RecipeError) as refused:
        build(Component(name=name), OPERATORS, kind="operator")
    assert part in sentence(refused)
    assert f"'{name}'" in sentence(refused)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("import a_module_nobody_has", "No module named 'a_module_nobody_has' (code.py, line 1)"),
        ("x = 1\ny = undefined\n", "NameError: name 'undefined' is not defined (code.py, line 2)"),
        ("def f(:\n", "SyntaxError"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    ],
)
def test_foreign_code_that_fails_on_import(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "code.py"
    path.write_text(text, encoding="utf-8")
    for _ in range(2):  # a failed import leaves nothing behind
        with pytest.raises(RecipeError) as refused:
            build(Component(name=f"{path}:Fade"), OPERATORS, kind="operator")
        assert part in sentence(refused)
        assert "code.py" in sentence(refused)


def test_a_foreign_operator_without_its_members(foreign: str) -> None:
    for operator, sampler, protocol in (
        ("NoScale", "DrawnGain", "Operator"),
        ("Fade", "Fade", "Sampler"),
    ):
        with pytest.raises(RecipeError) as refused:
            build_degradation(degraded_by(f"{foreign}:{operator}", f"{foreign}:{sampler}"))
        assert f"physgan.types.{protocol}" in sentence(refused)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"boundaryy": "zero"}, "Did you mean 'boundary'?"),
        ({"boundary": "mirror"}, "'reflect', 'replicate', 'circular' or 'zero'"),
        ({"boundary": True}, "a value and not a flag, got True"),
    ],
)
def test_arguments_of_an_operator(arguments: dict[str, object], part: str) -> None:
    with pytest.raises(RecipeError) as refused:
        build(Component(name="blur", arguments=arguments), OPERATORS, kind="operator")
    assert part in sentence(refused)
    assert "operator 'blur'" in sentence(refused)


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("disc", {"radius": [3]}, "a value"),
        ("disc", {"radius": "wide"}, "tuple"),
        ("disc", {"radius": [3, 1]}, "radius"),
        ("hazy_scenes", {"airlight": [0, 2]}, "airlight of a haze"),
        ("drawn_rain", {"coverage": [0.5, 1]}, "coverage of rain"),
    ],
)
def test_ranges_of_a_sampler(name: str, arguments: dict[str, object], part: str) -> None:
    with pytest.raises(RecipeError) as refused:
        build(Component(name=name, arguments=arguments), SAMPLERS, kind="sampler")
    assert part in sentence(refused)
    assert f"sampler '{name}'" in sentence(refused)


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("unet", {"width": 3}, "Did you mean 'widths'?"),
        ("unet", {"widths": [8], "blocks": [1, 1]}, "as many numbers of blocks as widths"),
        ("unet", {"channels": 1}, "channels of the generator 'unet': expected 3"),
        ("unet", {"scale": 2}, "scale of the generator 'unet': expected 1"),
        ("unet", {"unshuffle": True}, "a value and not a flag"),
        ("resnet9", {"width": 0}, "at least 1"),
        ("resent9", {}, "Did you mean 'resnet9'?"),
        ("torch.nn:Identity", {}, "none called 'channels'"),
    ],
)
def test_a_generator_that_does_not_fit(name: str, arguments: dict[str, object], part: str) -> None:
    spec = Component(name=name, arguments=arguments)
    with pytest.raises(RecipeError) as refused:
        build_generator(spec, channels=3, scale=1, seed=1)
    assert part in sentence(refused)


def test_a_factory_of_something_else(foreign: str) -> None:
    with pytest.raises(RecipeError, match=r"expected a torch\.nn\.Module, got int"):
        generator(f"{foreign}:not_a_network")


def test_any_names_of_arguments() -> None:
    class Odd:
        def __init__(
            self, copy: int, json: float = 1.0, _under: str = "a", *rest: int, schema: bool = False
        ) -> None:
            self.seen = (copy, json, _under, rest, schema)

    given = {"copy": "3", "_under": "b", "schema": True}
    checked = checked_arguments(Odd, given, origin="odd")
    assert checked == {"copy": 3, "_under": "b", "schema": True}
    assert Odd(**checked).seen == (3, 1.0, "b", (), True)
    with pytest.raises(RecipeError, match="field 'copy' of odd: expected a value, got nothing"):
        checked_arguments(Odd, {}, origin="odd")
    with pytest.raises(RecipeError, match="Did you mean 'schema'"):
        checked_arguments(Odd, {"copy": 3, "schemaa": True}, origin="odd")


def test_a_factory_that_takes_anything_gets_it() -> None:
    def anything(**arguments: object) -> dict[str, object]:
        return arguments

    assert checked_arguments(anything, {"a": [1]}, origin="any") == {"a": [1]}


def test_super_resolution_is_a_recipe_of_names() -> None:
    """The paper's: bicubic by 4, enlarged again before ResNet-9."""
    recipe = parse_recipe(
        """
name: sr4
data: {crop: 64}
physics:
  stages:
    sampling: {operator: {name: bicubic, arguments: {scale: 4}}, sampler: nothing}
  sensor: [clip, {name: jpeg, arguments: {quality: [80, 95], subsampling: "4:4:4"}}]
generator: {name: resnet9, arguments: {width: 4, blocks: 1}}
discriminator: {name: patchgan, arguments: {width: 4}}
training: {schedule: {constant: 1, decay: 0}}
"""
    )
    degradation = build_degradation(recipe.physics)
    scale = degradation.operator.scale
    network = build_generator(recipe.generator, channels=3, scale=scale, seed=1)
    assert isinstance(network, RestoreFn)
    assert (scale, network.scale, network.multiple_of) == (4, 4, 1)
    try_physics(degradation, crop=64, channels=3)
    x = torch.rand(2, 3, 64, 64, generator=Generator().manual_seed(1))
    batch = synthesise(x, degradation, generator=Generator().manual_seed(2))
    assert batch.y.shape == (2, 3, 16, 16)
    assert {stage: [*part] for stage, part in batch.theta.items()} == {
        "sampling": [],
        "sensor": ["quality"],
    }
    assert network(batch.y).shape == x.shape


def test_a_recipe_s_own_stage_is_a_chain_of_two() -> None:
    recipe = parse_recipe(
        """
name: two
physics:
  stages:
    fog: {operator: depth_haze, sampler: hazy_scenes}
    lens: {operator: blur, sampler: disc}
  sensor: [clip]
generator: unet
discriminator: patchgan
training: {schedule: {constant: 1, decay: 0}}
"""
    )
    chain = build_degradation(recipe.physics)
    assert list(chain.operator.operators) == ["fog", "lens"]
    x = torch.rand(1, 3, 16, 16)
    assert chain.sample(x, generator=Generator().manual_seed(1)).keys() == {"fog", "lens", "sensor"}
