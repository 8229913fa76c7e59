"""Bicubic resizing: against MATLAB's definition written out, Pillow where they agree, its laws."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Generator, Tensor

from physgan import resize
from physgan.errors import ShapeError
from physgan.resize import bicubic
from tests.imresize import imresize


def images(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(seed), dtype=dtype)


def reference(x: Tensor, up: int, down: int) -> Tensor:
    planes = [imresize(plane.double().numpy(), Fraction(up, down)) for plane in x.flatten(0, 1)]
    stacked: Tensor = torch.from_numpy(np.stack(planes))
    return stacked.reshape(*x.shape[:2], *stacked.shape[1:])


@settings(max_examples=60)
@given(
    up=st.integers(1, 6),
    down=st.integers(1, 6),
    h=st.integers(1, 30),
    w=st.integers(1, 30),
    seed=st.integers(0, 9),
)
def test_is_matlabs(up: int, down: int, h: int, w: int, seed: int) -> None:
    h, w = max(h, -(-down // up)), max(w, -(-down // up))
    x = images(2, 1, h, w, seed=seed)
    y = bicubic(x, up=up, down=down)
    wanted = reference(x, up, down)
    assert y.shape == wanted.shape == (2, 1, -(-h * up // down), -(-w * up // down))
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-13)


def test_a_worked_row() -> None:
    # By hand: the step 0, 0, 1, 1 twice as long. Keys at 0.25, 0.75, 1.25, 1.75 is
    # 0.8671875, 0.2265625, -0.0703125, -0.0234375.
    row = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 1, 4)
    larger = bicubic(row, up=2)[0, 0, 0].tolist()
    wanted = [0, -0.0234375, -0.0703125, 0.203125, 0.796875, 1.0703125, 1.0234375, 1]
    assert larger == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("factor", [(1, 4), (1, 3), (1, 2), (2, 1), (3, 1), (4, 1)])
def test_is_pillows_away_from_the_edges(factor: tuple[int, int]) -> None:
    up, down = factor
    x = images(1, 1, 48, 60, dtype=torch.float32)
    y = bicubic(x, up=up, down=down)
    size = (60 * up // down, 48 * up // down)
    wanted = torch.from_numpy(
        np.array(Image.fromarray(x[0, 0].numpy()).resize(size, Image.Resampling.BICUBIC))
    )
    edge = max(2, 2 * up)  # Pillow leaves out what lies beyond, and weighs the rest anew
    inner = (slice(edge, -edge), slice(edge, -edge))
    torch.testing.assert_close(y[0, 0][inner], wanted[inner], rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [(1, 4), (4, 1), (3, 2), (2, 3)])
def test_long_sides_are_made_in_parts(
    factor: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    up, down = factor
    x = images(1, 2, 61, 131)
    whole = bicubic(x, up=up, down=down)
    monkeypatch.setattr(resize, "_CHUNK", 5)
    torch.testing.assert_close(bicubic(x, up=up, down=down), whole, rtol=0, atol=1e-14)


def test_a_very_long_side_takes_little_memory() -> None:
    # One matrix for all of it would hold 3,600 million numbers.
    x = images(1, 1, 1, 30_000, dtype=torch.float32)
    y = bicubic(x, up=4)
    assert y.shape == (1, 1, 4, 120_000)
    torch.testing.assert_close(
        y[..., 60_040:60_360], bicubic(x[..., 15_000:15_100], up=4)[..., 40:360]
    )


@pytest.mark.parametrize(("up", "down"), [(1, 4), (4, 1), (2, 3), (1, 1)])
def test_flat_pictures_stay(up: int, down: int) -> None:
    flat = torch.full((1, 3, 24, 36), 0.7)
    torch.testing.assert_close(
        bicubic(flat, up=up, down=down), torch.full((1, 3, 24 * up // down, 36 * up // down), 0.7)
    )


def test_a_ramp_stays_where_it_lies() -> None:
    """No shift: pictures cover the same area."""
    ramp = torch.arange(64, dtype=torch.float64).expand(1, 1, 8, 64)
    quarter = bicubic(ramp, down=4)
    wanted = torch.arange(16, dtype=torch.float64) * 4 + 1.5
    torch.testing.assert_close(quarter[0, 0, 0, 2:-2], wanted[2:-2])
    again = bicubic(quarter, up=4)[0, 0, 0, 16:-16]
    torch.testing.assert_close(again, ramp[0, 0, 0, 16:-16])


@pytest.mark.parametrize(("up", "down"), [(1, 4), (4, 1), (3, 2)])
def test_gradients(up: int, down: int) -> None:
    x = images(2, 1, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: bicubic(t, up=up, down=down), [x])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_type_is_kept_and_precision_that_of_at_least_float32(dtype: torch.dtype) -> None:
    x = images(1, 3, 16, 24).to(dtype)
    y = bicubic(x, down=4)
    assert y.dtype == dtype
    exact = reference(x, 1, 4)
    assert (y.double() - exact).abs().max() < max(torch.finfo(dtype).eps, 5e-7)


@pytest.mark.parametrize(("up", "down"), [(1, 4), (4, 1)])
def test_autocast_changes_nothing(up: int, down: int) -> None:
    x = images(2, 3, 16, 24, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = bicubic(x, up=up, down=down)
    assert torch.equal(inside, bicubic(x, up=up, down=down))


def test_compiles_in_one_graph_for_any_size() -> None:
    compiled = torch.compile(
        lambda x: bicubic(x, up=4), backend="eager", fullgraph=True, dynamic=True
    )
    for side in (5, 9, 300):
        x = images(1, 3, side, 12)
        torch.testing.assert_close(compiled(x), bicubic(x, up=4), rtol=0, atol=1e-13)


def test_is_exported_for_any_size() -> None:
    class Enlarges(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return bicubic(x, up=4)

    h, w = torch.export.Dim("h", min=2, max=4096), torch.export.Dim("w", min=2, max=4096)
    program = torch.export.export(
        Enlarges(), (images(1, 3, 16, 24),), dynamic_shapes={"x": {2: h, 3: w}}
    )
    for size in ((16, 24), (7, 300), (150, 2)):
        x = images(1, 3, *size)
        torch.testing.assert_close(program.module()(x), bicubic(x, up=4), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("shape", "arguments", "part"),
    [
        ((3, 8, 8), {"up": 2}, "N×C×H×W"),
        ((1, 3, 3, 8), {"down": 4}, r"1/4: expected sides of at least 4 px.*got 3×8"),
        ((1, 3, 8, 0), {"up": 4}, "at least 1 px"),
        ((1, 3, 8, 8), {"up": 0}, "'up'"),
        ((1, 3, 8, 8), {"down": 2.0}, "'down'"),
        ((1, 3, 8, 8), {"down": True}, "'down'"),
    ],
)
def test_refusals(shape: tuple[int, ...], arguments: dict[str, int], part: str) -> None:
    with pytest.raises(ShapeError, match=part):
        bicubic(torch.zeros(shape), **arguments)


def test_integers_are_refused() -> None:
    with pytest.raises(ShapeError, match="uint8"):
        bicubic(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), up=2)
