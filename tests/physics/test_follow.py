"""Theta follows its image: the laws of following over every operator of the table."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError, ThetaError
from physgan.physics import follow
from physgan.physics.blur import Blur
from physgan.physics.compose import Chain, Degradation
from physgan.physics.follow import Box
from physgan.physics.haze import DepthHaze, Haze
from physgan.types import Following, Operator
from tests.physics.cases import CASES, AnyTheta, Case, tensors

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def operator_of(case: Case) -> Any:
    return case.operator


@every_case
def test_every_operator_tells_its_parts(case: Case) -> None:
    _, theta = case.draw()
    operator = operator_of(case)
    operators = operator.operators if isinstance(operator, Chain) else {"": operator}
    for name, stage in operators.items():
        assert isinstance(stage, Following)
        part: AnyTheta = theta[name] if name else theta
        assert part.keys() == stage.parts.keys()


@every_case
@pytest.mark.parametrize(("left_right", "up_down"), [(True, False), (False, True), (True, True)])
def test_mirrored(case: Case, left_right: bool, up_down: bool) -> None:
    x, theta = case.draw(size=(16, 24))
    dims = [dim for dim, asked in ((-2, up_down), (-1, left_right)) if asked]
    followed = follow.mirrored(operator_of(case), theta, left_right=left_right, up_down=up_down)
    torch.testing.assert_close(
        case.operator(x.flip(dims), followed),
        case.operator(x, theta).flip(dims),
        rtol=0,
        atol=1e-12,
    )


@every_case
@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_turned(case: Case, quarters: int) -> None:
    x, theta = case.draw(size=(16, 24))
    followed = follow.turned(operator_of(case), theta, quarters)
    torch.testing.assert_close(
        case.operator(torch.rot90(x, quarters, (-2, -1)), followed),
        torch.rot90(case.operator(x, theta), quarters, (-2, -1)),
        rtol=0,
        atol=1e-12,
    )


@every_case
@settings(max_examples=10, deadline=None)
@given(
    edges=st.tuples(*(st.integers(0, 6) for _ in range(4))),
    seed=st.integers(0, 99),
)
def test_cropped(case: Case, edges: tuple[int, int, int, int], seed: int) -> None:
    x, theta = case.draw(n=1, channels=1, size=(48, 56), seed=seed)
    operator = operator_of(case)
    scale = operator.scale
    top, left, below, right = (scale * (edge // scale) for edge in edges)
    box = Box(top, left, 48 - top - below, 56 - left - right)
    followed = follow.cropped(operator, theta, box)
    y = case.operator(x, theta)
    part = case.operator(_cut(x, box), followed)
    reach = -(-follow.margin(operator, theta) // scale)
    wanted = _cut(y, Box(*(side // scale for side in box)))
    height, width = part.shape[-2:]
    inner = Box(reach, reach, height - 2 * reach, width - 2 * reach)
    assert _cut(part, inner).numel() > 0
    torch.testing.assert_close(_cut(part, inner), _cut(wanted, inner), rtol=0, atol=1e-12)


def _cut(image: Tensor, box: Box) -> Tensor:
    return image[..., box.top : box.top + box.height, box.left : box.left + box.width]


@every_case
def test_the_margin_is_no_larger_than_needed_nor_smaller(case: Case) -> None:
    """A result depends on pixels within the margin, and on none beyond it."""
    x, theta = case.draw(n=1, channels=1, size=(64, 64))
    operator = operator_of(case)
    x.requires_grad_()
    y = case.operator(x, theta)
    middle = y.shape[-1] // 2
    (gradient,) = torch.autograd.grad(y[0, 0, middle, middle], x)
    rows, columns = (gradient[0, 0].abs() > 1e-14).nonzero(as_tuple=True)
    first, last = middle * operator.scale, (middle + 1) * operator.scale - 1
    reach = max(
        int(first - rows.min()),
        int(rows.max() - last),
        int(first - columns.min()),
        int(columns.max() - last),
    )
    assert reach <= follow.margin(operator, theta)


@every_case
def test_resized_where_every_pixel_stands_for_itself(case: Case) -> None:
    x, theta = case.draw(size=(48, 48))
    operator = operator_of(case)
    if follow.margin(operator, theta) or operator.scale != 1:
        with pytest.raises(ThetaError, match="Degrade after resizing"):
            follow.resized(operator, theta, (24, 24))
        return
    smooth = F.interpolate(x[..., ::12, ::12], size=(48, 48), mode="bicubic").clamp(0, 1)
    followed = follow.resized(operator, theta, (24, 30))
    for before, after in zip(tensors(theta).values(), tensors(followed).values(), strict=True):
        assert after.shape[:-2] == before.shape[:-2]
    options: dict[str, Any] = {"size": (24, 30), "mode": "bilinear", "antialias": True}
    wanted = F.interpolate(case.operator(smooth, theta), **options)
    got = case.operator(F.interpolate(smooth, **options), followed)
    assert (got - wanted).abs().mean() < 0.02


def test_batches_and_leading_dimensions_are_kept() -> None:
    theta = {"transmission": torch.rand(3, 1, 8, 10), "airlight": torch.rand(3, 3)}
    box = Box(2, 3, 4, 5)
    followed = follow.cropped(Haze(), theta, box)
    assert torch.equal(followed["transmission"], theta["transmission"][..., 2:6, 3:8])
    assert torch.equal(followed["airlight"], theta["airlight"])


def test_the_sensors_part_stays() -> None:
    chain = Chain({"haze": Haze()})
    theta = {
        "haze": {"transmission": torch.rand(1, 1, 8, 8), "airlight": torch.rand(1, 3)},
        "sensor": {"sigma": torch.rand(1)},
    }
    assert torch.equal(follow.turned(chain, theta, 1)["sensor"]["sigma"], theta["sensor"]["sigma"])


class _Strange:
    scale = 1

    def __call__(self, x: Tensor, theta: Any) -> Tensor:
        return x


class _Halves(_Strange):
    """Takes every second pixel, and a map of its own input."""

    scale = 2
    parts = {"gain": "map"}  # noqa: RUF012

    def __call__(self, x: Tensor, theta: Any) -> Tensor:
        halves: Tensor = (x * theta["gain"])[..., ::2, ::2]
        return halves

    def margin(self, theta: Any) -> int:
        return 0


def test_maps_of_later_stages_are_cut_at_their_own_size() -> None:
    chain = Chain({"halves": _Halves(), "haze": Haze()})
    x = torch.rand(1, 3, 12, 16)
    theta = {
        "halves": {"gain": torch.rand(1, 1, 12, 16)},
        "haze": {"transmission": torch.rand(1, 1, 6, 8), "airlight": torch.rand(1, 3)},
    }
    box = Box(4, 2, 6, 8)
    got = chain(_cut(x, box), follow.cropped(chain, theta, box))
    assert torch.equal(got, chain(x, theta)[..., 2:5, 1:5])
    with pytest.raises(ShapeError, match="multiples of the physics' scale 2"):
        follow.cropped(chain, theta, Box(3, 2, 6, 8))


@pytest.mark.parametrize(
    ("operator", "theta", "message"),
    [
        (_Strange(), {}, "tell what its parameters are"),
        (Haze(), {"depth": torch.rand(1, 1, 4, 4)}, "depth besides"),
        (Chain({"a": _Strange()}), {"a": {}}, "tell what its parameters are"),
        (Chain({"blur": Blur()}), {}, "the stage 'blur'"),
    ],
)
def test_what_does_not_tell_is_refused(
    operator: Operator | Chain, theta: AnyTheta, message: str
) -> None:
    for change in (
        lambda: follow.mirrored(operator, theta, up_down=True),
        lambda: follow.turned(operator, theta, 1),
        lambda: follow.cropped(operator, theta, Box(0, 0, 2, 2)),
        lambda: follow.resized(operator, theta, (2, 2)),
        lambda: follow.margin(operator, theta),
    ):
        with pytest.raises(ThetaError, match=message):
            change()


@pytest.mark.parametrize(
    "box", [Box(-1, 0, 2, 2), Box(0, 0, 5, 2), Box(3, 3, 2, 2), Box(0, 0, 0, 2)]
)
def test_cuts_beyond_a_map_are_refused(box: Box) -> None:
    theta = {"transmission": torch.rand(1, 1, 4, 4), "airlight": torch.rand(1, 3)}
    with pytest.raises(ShapeError, match=r"within 4×4|at least one pixel"):
        follow.cropped(Haze(), theta, box)
    if min(box) < 0 or not min(box[2:]):
        with pytest.raises(ShapeError, match="at least one pixel"):
            follow.cropped(Blur(), {"kernel": torch.ones(1, 1, 1)}, box)


def test_a_whole_degradation_follows() -> None:
    """From Degradation.sample to a cut pair, as data takes it."""
    from physgan.physics.blur import DiscKernels
    from physgan.physics.compose import Stage
    from physgan.physics.haze import DepthHaze, HazyScenes

    chain = Degradation(
        {"haze": Stage(DepthHaze(), HazyScenes()), "blur": Stage(Blur(), DiscKernels((0.0, 2.0)))}
    )
    x = torch.rand(2, 3, 40, 44, dtype=torch.float64)
    theta = chain.sample(x, generator=torch.Generator().manual_seed(1))
    assert follow.margin(chain.operator, theta) == 2
    box = Box(4, 8, 30, 32)
    got = chain.operator(_cut(x, box), follow.cropped(chain.operator, theta, box))
    wanted = _cut(chain.operator(x, theta), box)
    torch.testing.assert_close(got[..., 2:-2, 2:-2], wanted[..., 2:-2, 2:-2], rtol=0, atol=1e-7)


def test_parameters_that_are_lacking() -> None:
    theta = {"kernel": torch.full((1, 3, 3), 1 / 9)}
    follow.cropped(Blur(), theta, Box(0, 0, 4, 4))
    with pytest.raises(ThetaError, match="the parameters kernel, got none called kernel"):
        follow.cropped(Blur(), {}, Box(0, 0, 4, 4))
    with pytest.raises(ThetaError, match="none called airlight, beta"):
        follow.mirrored(DepthHaze(), {"depth": torch.ones(1, 1, 4, 4)}, left_right=True)
