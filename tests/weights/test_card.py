import dataclasses
import json

from physgan.weights import WeightsInfo, card

INFO = WeightsInfo(
    architecture="resnet9",
    arguments={"width": 64},
    channels=3,
    scale=1,
    recipe={"name": "deblur", "training": {"steps": 1000, "seed": 7}},
    commit="0123abc",
    data="pages | with a bar\nand a second line",
    licence="CC0-1.0",
    measured=[
        {"set": "text", "protocol": "y-shift", "psnr": 20.25},
        {"set": "faces", "protocol": "rgb", "ssim": 0.5},
    ],
)


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


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


def test_measured_effort_comes_before_the_planned() -> None:
    info = dataclasses.replace(INFO, measured={"steps": 600, "hours": 1.5, "psnr": 20.0})
    text = card(info, title="t", parameters=1, size=1)
    assert ["Steps", "600"] in rows(text)
    assert ["Hours", "1.5"] in rows(text)
    assert ["psnr", "20.0"] in rows(text)


def test_what_is_not_known_is_not_claimed() -> None:
    info = dataclasses.replace(INFO, recipe="opaque", measured=[])
    text = card(info, title="t", parameters=1, size=1)
    assert "Nothing yet." in text
    assert not {"Steps", "Hours", "Seed"} & {row[0] for row in rows(text)}
