"""Before and after, side by side: what is shown, what is written, what is told."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from physgan.errors import ImageError, ShapeError
from physgan.metrics.protocol import protocol, scores
from physgan.restore import panels
from physgan.restore.page import enlarged
from physgan.restore.panels import GAP, line_of_text
from physgan.restore.restorer import Restorer
from tests.restore.small import Inverts
from tests.training.tiny import write_picture


def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


def levels(x: torch.Tensor) -> npt.NDArray[np.uint8]:
    """H×W×3 of an image 3×H×W."""
    return x.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def test_before_after_and_clear_stand_side_by_side(tmp_path: Path) -> None:
    y, x = torch.rand(2, 3, 12, 16), torch.rand(2, 3, 12, 16)
    comparison = Restorer(Inverts()).compare(y, x)
    comparison.save(tmp_path / "c.png")
    found = pixels(Image.open(tmp_path / "c.png"))
    assert found.shape == (24 + GAP, 48 + 2 * GAP, 3)
    for row in range(2):
        for column, image in enumerate((y, 1 - y, x)):
            top, left = row * (12 + GAP), column * (16 + GAP)
            assert np.array_equal(found[top : top + 12, left : left + 16], levels(image[row]))
    assert (found[12 : 12 + GAP] == 255).all()


def test_what_is_enlarged_repeats_its_pixels(tmp_path: Path) -> None:
    y = torch.rand(3, 8, 8)
    comparison = Restorer(Inverts(scale=4)).compare(y)
    comparison.save(tmp_path / "c.png")
    found = pixels(Image.open(tmp_path / "c.png"))
    assert found.shape == (32, 64 + GAP, 3)
    assert np.array_equal(found[:, :32], levels(y).repeat(4, 0).repeat(4, 1))
    assert repr(comparison) == (
        "Comparison(1 image of 3×8×8 -> 3×32×32: the clear one is not known)"
    )


def test_the_numbers_are_those_of_the_protocol() -> None:
    y, x = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 64, 64)
    comparison = Restorer(Inverts(scale=4)).compare(y, x)
    how = protocol("rgb", scale=4)
    for prefix, images in (("", comparison.x_hat), ("input_", enlarged(y, 4))):
        each = [scores(images[i : i + 1], x[i : i + 1], how) for i in range(2)]
        for name in ("psnr", "ssim"):
            mean = sum(row[name] for row in each) / 2
            assert comparison.scores[f"{prefix}{name}"] == pytest.approx(mean)
    found = comparison.scores
    gain = found["psnr"] - found["input_psnr"]
    assert f"PSNR {found['input_psnr']:.2f} -> {found['psnr']:.2f} dB ({gain:+.2f})" in repr(
        comparison
    )
    assert repr(comparison).startswith("Comparison(2 images of 3×16×16 -> 3×64×64: ")
    assert Restorer(Inverts()).compare(y).scores == {}


def test_files_and_grey(tmp_path: Path) -> None:
    write_picture(tmp_path / "y.png", torch.rand(3, 12, 14))
    write_picture(tmp_path / "x.png", torch.rand(3, 12, 14))
    restorer = Restorer(Inverts())
    comparison = restorer.compare(tmp_path / "y.png", str(tmp_path / "x.png"))
    torch.testing.assert_close(comparison.x_hat, 1 - comparison.y)
    assert comparison.scores
    grey = restorer.compare(torch.rand(1, 12, 14))
    assert grey.x_hat.shape == (1, 1, 12, 14)
    shown = pixels(Image.open(BytesIO(grey._repr_png_())))
    assert (shown[..., 0] == shown[..., 1]).all()
    many = Restorer(Inverts(channels=5)).compare(torch.rand(5, 12, 14))
    assert Image.open(BytesIO(many._repr_png_())).height > 12


def test_a_notebook_is_shown_no_more_than_fits(tmp_path: Path) -> None:
    restorer = Restorer(Inverts())
    wide = Image.open(BytesIO(restorer.compare(torch.rand(3, 40, 2000))._repr_png_()))
    assert wide.width == 1600
    many = Image.open(BytesIO(restorer.compare(torch.rand(30, 3, 40, 40))._repr_png_()))
    assert 8 * 40 < many.height < 9 * 60
    below = pixels(many)[8 * (40 + GAP) :]
    assert (below < 100).any()  # the line of text


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    comparison = Restorer(Inverts()).compare(torch.rand(3, 8, 8))
    comparison.save(tmp_path / "c.png")
    with pytest.raises(ImageError, match="overwrite=True"):
        comparison.save(tmp_path / "c.png")
    comparison.save(tmp_path / "c.png", overwrite=True)
    with pytest.raises(ImageError, match=r"ending in \.png"):
        comparison.save(tmp_path / "c.jpg")
    with pytest.raises(ImageError, match="can be written"):
        comparison.save(tmp_path / "none" / "c.png")
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_what_cannot_be_compared() -> None:
    restorer = Restorer(Inverts())
    with pytest.raises(ShapeError, match="a file, or a floating tensor"):
        restorer.compare(torch.rand(8, 8))
    with pytest.raises(ShapeError, match="a file, or a floating tensor"):
        restorer.compare(np.zeros((8, 8, 3)))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="expected 1×3×8×8, got 1×3×8×9"):
        restorer.compare(torch.rand(3, 8, 8), torch.rand(3, 8, 9))


def test_lines_of_text() -> None:
    def same(a: str, b: str) -> bool:
        return np.array_equal(pixels(line_of_text(a)), pixels(line_of_text(b)))

    assert same("e\u0301t\u00e9.png", "été.png")
    assert not same("α.png", "β.png")
    assert not same("Привет", "Приват")
    assert same("a\nb\x07", "a\\nb\\x07")
    assert same("at 3.45\u202fPM", "at 3.45 PM")  # as macOS names its pictures
    assert same("\udcff.png", "\\udcff.png")  # a byte that is no text
    narrow = line_of_text("a" * 100 + "_end.png", width=120)
    assert narrow.width == 120
    assert np.array_equal(
        pixels(narrow)[:, :40], pixels(line_of_text("a" * 200 + "_end.png", width=120))[:, :40]
    )
    assert line_of_text("").size == (1, 21)


@pytest.fixture
def no_cache() -> Iterator[None]:
    """Which fonts there are is looked up anew, and again afterwards."""

    def clear() -> None:
        for each in (panels._shown, panels._font_of, panels._system_font):
            each.cache_clear()

    clear()
    yield
    clear()


@pytest.mark.usefixtures("no_cache")
def test_letters_that_no_font_holds_stand_by_their_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    # A font that is there and has no such letter is not believed.
    packed = resources.files("physgan.data.text") / "fonts" / "LiberationSans-Bold.ttf"
    monkeypatch.setattr(panels, "_EAST_ASIAN", ("no such font.ttc", str(packed)))
    for text, code in (("写真.png", "\\u5199\\u771f.png"), ("😀", "\\U0001f600")):
        assert np.array_equal(pixels(line_of_text(text)), pixels(line_of_text(code)))
    # Shortened between letters, never within a code.
    narrow = pixels(line_of_text("写" * 50 + "真" * 50, width=150))
    ends = [("写" * n + "…" + "真" * m) for n in range(1, 4) for m in (n - 1, n)]
    assert any(np.array_equal(narrow, pixels(line_of_text(each, width=150))) for each in ends)


@pytest.mark.usefixtures("no_cache")
def test_a_font_of_the_system_draws_east_asian_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the packed fonts, hidden from the others, stands for it."""
    fonts = resources.files("physgan.data.text") / "fonts"
    monkeypatch.setattr(panels, "_FONTS", ("LiberationSans-Regular",))
    monkeypatch.setattr(panels, "_EAST_ASIAN", (str(fonts / "STIXGeneral-Regular.otf"),))
    wide, code = pixels(line_of_text("のa")), pixels(line_of_text("\\u306ea"))
    assert wide.shape[1] < code.shape[1]
    assert (wide < 100).any()
    monkeypatch.setattr(panels, "_EAST_ASIAN", ())
    for each in (panels._shown, panels._font_of, panels._system_font):
        each.cache_clear()
    assert np.array_equal(pixels(line_of_text("のa")), code)


def test_of_tiny_pictures_it_is_said_that_they_tell_nothing() -> None:
    y = torch.rand(1, 3, 7, 9)
    comparison = Restorer(Inverts()).compare(y, y)
    assert "too small to be measured" in repr(comparison)
    assert comparison._repr_png_()
