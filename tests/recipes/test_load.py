"""Recipes from files and overrides: what is read, what is refused, and how the refusal reads."""

from pathlib import Path

import pytest

from physgan.errors import RecipeError
from physgan.recipes.load import (
    dump_recipe,
    find_recipe,
    load_recipe,
    parse_recipe,
    shipped_recipes,
)
from physgan.recipes.schema import Recipe

LEAST = """
name: least
physics:
  stages:
    fog: {operator: depth_haze, sampler: hazy_scenes}
generator: unet
discriminator: patchgan
training:
  schedule: {constant: 1, decay: 2}
"""


def refusal(*overrides: str, text: str = LEAST) -> str:
    with pytest.raises(RecipeError) as refused:
        parse_recipe(text, overrides)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_the_least_recipe() -> None:
    recipe = parse_recipe(LEAST)
    assert recipe.physics.stages["fog"].operator.name == "depth_haze"
    assert recipe.generator.arguments == {}
    assert recipe.data.train is None


def test_the_shipped_recipes_are_known() -> None:
    assert {"deblur-natural", "paper/deblur-natural"} <= set(shipped_recipes())


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_round_trips(name: str) -> None:
    recipe = load_recipe(name)
    text = dump_recipe(recipe)
    assert parse_recipe(text) == recipe
    assert dump_recipe(parse_recipe(text)) == text


def test_a_recipe_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(LEAST, encoding="utf-8")
    assert find_recipe(path) == path
    assert load_recipe(path) == load_recipe(str(path)) == parse_recipe(LEAST)


def test_a_round_trip_with_everything_set() -> None:
    recipe = parse_recipe(
        LEAST,
        [
            "--description=Grüße: {a} # b",
            "--data.train",
            "/a b/c",
            "--data.pairs",
            "{degraded: y, clean: x}",
            "--optimiser.clip",
            "1e-3",
            "--optimiser.lr",
            "1.5e-07",
            "--physics.sensor",
            "[{name: noise, arguments: {sigma: [0, 1e-2]}}, clip]",
            "--training.checkpoint.part_megabytes=16",
            "--training.checkpoint.compact",
        ],
    )
    assert recipe.description == "Grüße: {a} # b"
    assert recipe.optimiser.lr == 1.5e-7
    assert parse_recipe(dump_recipe(recipe)) == recipe


# ---------------------------------------------------------------- overrides


def overridden(*overrides: str) -> Recipe:
    return parse_recipe(LEAST, overrides)


def test_both_forms_of_an_override_are_one() -> None:
    assert overridden("--seed", "7") == overridden("--seed=7")
    assert overridden("--seed", "7").seed == 7


@pytest.mark.parametrize(
    "text", ["/data/my #1 set", "~", "2024", "[old] photos", "a: b", "true", ""]
)
def test_text_and_paths_are_taken_as_they_stand(text: str) -> None:
    recipe = overridden("--data.train", text, f"--name={text}", f"--data.licence={text}")
    assert str(recipe.data.train) == (text or ".")
    assert recipe.name == text
    assert recipe.data.licence == text


def test_the_last_override_counts() -> None:
    assert overridden("--seed", "7", "--seed", "8").seed == 8


def test_values_are_yaml() -> None:
    recipe = overridden(
        "--optimiser.betas",
        "[0.9, 0.99]",
        "--training.schedule",
        "{constant: 5, decay: 6}",
        "--optimiser.clip",
        "null",
        "--objective.matched",
        "false",
    )
    assert recipe.optimiser.betas == (0.9, 0.99)
    assert (recipe.training.schedule.constant, recipe.training.schedule.decay) == (5, 6)
    assert recipe.optimiser.clip is None
    assert recipe.objective.matched is False


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e-4", 2e-4), ("2E-4", 2e-4), ("2.e-4", 2e-4), (".5e-3", 5e-4), ("+1e+1", 10.0), ("3", 3.0)],
)
def test_numbers_with_exponents_are_numbers(text: str, value: float) -> None:
    assert overridden("--optimiser.lr", text).optimiser.lr == value
    in_file = LEAST + f"optimiser: {{lr: {text}}}"
    assert parse_recipe(in_file).optimiser.lr == value


def test_whole_numbers_with_exponents() -> None:
    assert overridden("--training.schedule.constant", "2e4").training.schedule.constant == 20000


def test_a_flag_alone_is_true() -> None:
    recipe = overridden("--training.compile", "--training.checkpoint.compact", "--seed", "3")
    assert recipe.training.compile is True
    assert recipe.training.checkpoint.compact is True
    assert recipe.seed == 3


def test_a_negative_number_is_a_value() -> None:
    message = refusal("--objective.gamma", "-1")
    assert "'objective.gamma'" in message
    assert "got -1." in message
    recipe = overridden("--generator.arguments.widths", "[-4]", "--generator.arguments.x", "-2.5")
    assert recipe.generator.arguments == {"widths": [-4], "x": -2.5}


def test_an_argument_below_a_component_that_is_only_named() -> None:
    name = "--physics.stages.fog"
    recipe = overridden(f"{name}.sampler.arguments.tint", "0.1", "--generator.arguments.scale=2")
    assert recipe.physics.stages["fog"].sampler.name == "hazy_scenes"
    assert recipe.physics.stages["fog"].sampler.arguments == {"tint": 0.1}
    assert (recipe.generator.name, recipe.generator.arguments) == ("unet", {"scale": 2})


def test_a_named_component_replaces_name_and_arguments() -> None:
    text = LEAST.replace("generator: unet", "generator: {name: unet, arguments: {unshuffle: 4}}")
    recipe = parse_recipe(text, ["--generator", "resnet9", "--generator.arguments.width", "8"])
    assert (recipe.generator.name, recipe.generator.arguments) == ("resnet9", {"width": 8})


def test_a_new_stage() -> None:
    recipe = overridden("--physics.stages.lens", "{operator: blur, sampler: disc}")
    assert list(recipe.physics.stages) == ["fog", "lens"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("field", "nearest"),
    [
        ("trainingg", "training"),
        ("data.trainn", "train"),
        ("data.pairs.cleanx", "clean"),
        ("training.log_evry", "log_every"),
        ("training.schedule.decai", "decay"),
        ("training.checkpoint.everyy", "every"),
        ("objective.lambdaa", "lambda"),
        ("objective.lambda_", "lambda"),
        ("optimiser.beta", "betas"),
        ("physics.stage", "stages"),
        ("physics.stages.fog.operatorr", "operator"),
    ],
)
def test_an_unknown_field_names_the_nearest(field: str, nearest: str) -> None:
    message = refusal("--data.pairs", "{degraded: y, clean: x}", f"--{field}", "{}")
    assert f"field '{field}'" in message
    assert f"Did you mean '{nearest}'?" in message


@pytest.mark.parametrize("field", ["generator", "physics.stages.fog.sampler"])
def test_an_unknown_field_of_a_component(field: str) -> None:
    message = refusal(f"--{field}", "{name: unet, argumentss: {}}")
    assert f"'{field}.argumentss'" in message
    assert "Did you mean 'arguments'?" in message


def test_an_unknown_field_in_a_list() -> None:
    message = refusal("--physics.sensor", "[clip, {name: noise, argumentss: {}}]")
    assert "'physics.sensor.1.argumentss'" in message
    assert "Did you mean 'arguments'?" in message


def test_the_fault_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(LEAST + "sed: 3", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"field 'sed' of recipe '.*mine\.yaml'.*'seed'"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("training.batch", "0", "greater than 0"),
        ("training.batch", "many", "valid integer"),
        ("training.batch", "1.5", "valid integer"),
        ("training.ema", "1", "less than 1"),
        ("optimiser.lr", "0", "greater than 0"),
        ("optimiser.lr", ".inf", "finite"),
        ("objective.gamma", ".nan", "finite"),
        ("optimiser.betas", "[0.5]", "a value"),
        ("optimiser.betas", "[0.5, 1]", "less than 1"),
        ("data.fit", "stretch", "'crop' or 'resize'"),
        ("training.compile", "maybe", "boolean"),
        ("training.schedule", "3", "dictionary"),
        ("physics.stages", "{}", "at least 1"),
        ("physics.stages", "{sensor: {operator: blur, sampler: disc}}", "not 'sensor'"),
        ("physics.stages", "{a.b: {operator: blur, sampler: disc}}", "without dots"),
        ("physics.stages", "{1: {operator: blur, sampler: disc}}", "string"),
        ("generator", "[unet]", "dictionary"),
        ("seed", "-1", "greater than or equal to 0"),
        ("seed", "4294967296", "less than"),
    ],
)
def test_a_wrong_value_is_refused(field: str, value: str, part: str) -> None:
    message = refusal(f"--{field}", value)
    assert f"field '{field}" in message
    assert part in message


@pytest.mark.parametrize("field", ["training.batch", "optimiser.lr", "optimiser.clip", "seed"])
def test_a_number_that_was_forgotten_is_not_one(field: str) -> None:
    message = refusal(f"--{field}", "--training.compile")
    assert f"field '{field}'" in message
    assert "a value and not a flag" in message


@pytest.mark.parametrize("missing", ["name", "physics", "generator", "discriminator", "training"])
def test_a_missing_field_is_named(missing: str) -> None:
    lines = LEAST.split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith(missing))
    last = next(
        (i for i in range(first + 1, len(lines)) if not lines[i].startswith(" ")), len(lines)
    )
    message = refusal(text="\n".join(lines[:first] + lines[last:]))
    assert f"field '{missing}'" in message
    assert "expected a value, got nothing" in message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LEAST + "seed: 1\nseed: 2\n", "key 'seed' stands here twice"),
        (LEAST + "data: {crop: 64, crop: 32}\n", "key 'crop' stands here twice"),
        ("a: [1\nb", "expected YAML"),
        ("a: 2020-99-99", "expected YAML"),
        ("? [1, 2]\n: 3", "expected YAML"),
        ("!!python/object:os.system {}", "expected YAML"),
        ("- a\n- b", "got list"),
        ("", "got NoneType"),
        ("some text", "got str"),
    ],
)
def test_a_text_that_is_no_recipe(text: str, what: str) -> None:
    assert what in refusal(text=text)


def test_merged_keys_are_no_duplicates() -> None:
    text = LEAST + "objective:\n  <<: {gamma: 1, mu: 3}\n  mu: 2\n"
    recipe = parse_recipe(text)
    assert (recipe.objective.gamma, recipe.objective.mu) == (1, 2)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "picture.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(RecipeError, match="expected YAML in UTF-8") as refused:
        load_recipe(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "remedy"),
    [("deblur-naturl", "Did you mean 'deblur-natural'?"), ("nowhere/x.yaml", "paper/")],
)
def test_a_recipe_that_is_not_there(source: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe(source)
    assert f"recipe '{source}'" in str(refused.value)
    assert remedy in str(refused.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="got neither"):
        load_recipe(tmp_path)


@pytest.mark.parametrize("word", ["seed", "-seed", "3", "--"])
def test_an_override_that_is_none(word: str) -> None:
    assert f"got '{word}'" in refusal(word, "3")


@pytest.mark.parametrize("value", ["[1", "{a: b: c}", "{a: 1, a: 2}", "{[1]: 2}", "2020-99-99"])
def test_an_override_that_is_not_yaml(value: str) -> None:
    message = refusal("--seed", value)
    assert "override 'seed'" in message
    assert repr(value) in message


@pytest.mark.parametrize("path", ["name.x", "physics.sensor.0.name", "seed.x"])
def test_an_override_below_something_without_fields(path: str) -> None:
    text = LEAST.replace("generator:", "  sensor: [clip]\ngenerator:") + "seed: 3\n"
    message = refusal(f"--{path}", "3", text=text)
    assert f"override '{path}'" in message
    assert "Give the whole value as YAML" in message


def test_null_empties_a_field_of_text_that_may_be_empty() -> None:
    recipe = load_recipe("deblur-text", ["--data.licence", "CC0", "--training.start=x"])
    assert (recipe.data.licence, recipe.training.start) == ("CC0", "x")
    recipe = load_recipe("deblur-text", ["--data.licence", "null", "--training.start=null"])
    assert (recipe.data.licence, recipe.training.start) == (None, None)
    assert load_recipe("deblur-text", ["--name", "null"]).name == "null"


def test_a_recipe_of_ones_own_that_is_misspelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vignette.yaml").write_text("name: a", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for source in ("vignett", "vignete.yaml"):
        with pytest.raises(RecipeError, match=r"Did you mean 'vignette.yaml'"):
            load_recipe(source)


def test_the_place_of_what_is_no_yaml() -> None:
    with pytest.raises(RecipeError, match=r"expected YAML, got .* in line 3, column 1") as raised:
        parse_recipe("name: a\nphysics: [\n")
    assert "unicode string" not in str(raised.value)
