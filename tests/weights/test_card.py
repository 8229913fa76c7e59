import dataclasses
import json
from pathlib import Path

from physgan.weights import WeightsInfo, card, load_weights
from physgan.weights.card import card_of
from physgan.weights.file import BEGUN, JSON
from tests.restore.small import small_weights

INFO = WeightsInfo(
    architecture="resnet9",
    arguments={"width": 64},
    channels=3,
    scale=1,
    recipe={"name": "deblur", "seed": 7},
    commit="0123abc",
    data="pages | with a bar\nand a second line",
    licence="CC0-1.0",
    measured=[
        {"set": "text", "protocol": "y-shift", "psnr": 20.25},
        {"set": "faces", "protocol": "rgb", "ssim": 0.5},
    ],
    training={
        "steps": 1000,
        "seed": 7,
        "curve": [{"step": 500, "psnr": 18.5}, {"step": 1000, "psnr": 19.25}],
        "began_from": {
            "name": "second",
            "steps": 300,
            "recipe": {"seed": 8},
            "began_from": {"name": "first", "steps": 200},
        },
    },
)


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_what_falls_short_says_so() -> None:
    short = dataclasses.replace(INFO, training={**INFO.training, "experimental": "too little"})
    told = card(short, title="deblur", parameters=1, size=1)
    assert ["Experimental", "too little"] in rows(told)
    assert "Experimental" not in card(INFO, title="deblur", parameters=1, size=1)


def test_states_what_the_header_states() -> None:
    text = card(INFO, title="deblur-text", parameters=11_378_179, size=22_800_000)
    assert text.startswith("# deblur-text\n")
    assert text.endswith("\n")
    for row in (
        ["Architecture", "resnet9"],
        ["Arguments", '{"width": 64}'],
        ["Parameters", "11,378,179"],
        ["File", "22.8 MB"],
        ["Steps", "1000"],
        ["Seed", "7"],
        ["Trained on", "pages ¦ with a bar and a second line"],
        ["Licence of the weights", "CC0-1.0"],
        ["Commit", "0123abc"],
        ["set", "protocol", "psnr", "ssim"],
        ["text", "y-shift", "20.25", ""],
        ["faces", "rgb", "", "0.5"],
    ):
        assert row in rows(text)
    block = text.split("```json\n")[1].split("```")[0]
    assert json.loads(block) == INFO.recipe


def test_tells_how_the_weights_came_about() -> None:
    text = card(INFO, title="t", parameters=1, size=1)
    curve = text.split("## Learning curve")[1].split("##")[0]
    assert rows(curve)[2:] == [["500", "18.5"], ["1000", "19.25"]]
    earlier = text.split("## Began from")[1].split("## Recipe")[0]
    assert rows(earlier)[2:] == [["second", "300"], ["first", "200"]]


def test_a_chain_of_runs_is_added_up() -> None:
    earlier: JSON = {"steps": 300, "hours": 0.25, "began_from": {"steps": 200, "hours": 1.0}}
    training: dict[str, JSON] = {"steps": 1000, "hours": 0.5, "began_from": earlier}
    told = rows(card(dataclasses.replace(INFO, training=training), title="t", parameters=1, size=1))
    assert ["With the runs that it began from", "3 runs, 1,500 steps, 1.8 hours"] in told


def test_licences_in_short() -> None:
    for licence, terms in (
        ("CC0", "CC0"),
        (f"research only (a){BEGUN}research only (b){BEGUN}research only", None),
        (f"CC0{BEGUN}unknown", "CC0; unknown"),
    ):
        short = dataclasses.replace(INFO, licence=licence).terms
        assert short == (terms or "research only (a); research only (b)")


def test_a_card_of_a_file_counts_its_numbers(tmp_path: Path) -> None:
    path = small_weights(tmp_path / "w.safetensors")
    network, info = load_weights(path)
    parameters = sum(p.numel() for p in network.parameters())
    expected = card(info, title="t", parameters=parameters, size=path.stat().st_size)
    assert card_of(path, title="t") == expected


def test_what_is_not_known_is_not_claimed() -> None:
    info = dataclasses.replace(INFO, recipe="opaque", measured=[], training={})
    text = card(info, title="t", parameters=1, size=1)
    assert "Nothing yet." in text
    assert not {"Steps", "Hours", "Seed"} & {row[0] for row in rows(text)}
