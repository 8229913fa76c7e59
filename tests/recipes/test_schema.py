"""The typed form of a recipe: its JSON schema, its descriptions, and what the paper's holds."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from physgan.recipes.load import field_lines, load_recipe
from physgan.recipes.schema import Recipe


def properties(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every property of every model in a JSON schema, by dotted name."""
    found = {f"Recipe.{name}": value for name, value in schema["properties"].items()}
    for model, inner in schema["$defs"].items():
        found |= {f"{model}.{name}": value for name, value in inner["properties"].items()}
    return found


def test_a_json_schema_describes_every_field() -> None:
    schema = Recipe.model_json_schema()
    assert json.loads(json.dumps(schema)) == schema
    found = properties(schema)
    assert {"Recipe.physics", "ObjectiveSpec.lambda", "CheckpointSpec.every"} <= found.keys()
    for name, value in found.items():
        assert value.get("description"), name
        assert value["description"].endswith("."), name


def test_the_schema_is_closed() -> None:
    schema = Recipe.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert model["additionalProperties"] is False


def test_help_has_a_line_for_every_field() -> None:
    lines = field_lines()
    dotted = {line.split(" ", 1)[0] for line in lines}
    assert len(dotted) == len(lines)
    assert {
        "--name",
        "--data.pairs.clean",
        "--physics.stages.NAME.operator",
        "--objective.lambda",
        "--training.schedule.constant",
        "--training.checkpoint.part_megabytes",
    } <= dotted
    assert all(line.split("  ", 1)[1] for line in lines)


def test_a_recipe_does_not_change() -> None:
    recipe = load_recipe("deblur-natural")
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]


def test_the_paper_s_numbers() -> None:
    recipe = load_recipe("paper/deblur-natural")
    objective, optimiser, training = recipe.objective, recipe.optimiser, recipe.training
    assert (objective.lambda_, objective.gamma, objective.mu) == (50, 10, 10)
    assert (objective.adversarial_clear, objective.adversarial_observation) == (1, 1)
    assert (objective.game, objective.pool) == ("least_squares", 50)
    assert (optimiser.lr, optimiser.betas) == (2e-4, (0.5, 0.999))
    assert (training.batch, recipe.data.crop) == (1, 256)
    schedule = training.schedule
    assert (schedule.unit, schedule.constant, schedule.decay) == ("epochs", 100, 100)
    assert recipe.generator.name == "resnet9"
    assert recipe.generator.arguments == {"width": 64, "blocks": 9}
    assert recipe.discriminator.arguments == {"width": 64}
    noise = recipe.physics.sensor[0]
    assert (noise.name, noise.arguments) == ("noise", {"sigma": [0, 0.1]})
