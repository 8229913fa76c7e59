"""What holds for every operator and every sampler, over the table in `cases.py`."""

import copy
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError
from physgan.types import Checking, Operator, Sampler
from tests.physics.cases import (
    CASES,
    SAMPLERS,
    SETTLED,
    AnySampler,
    AnyTheta,
    Case,
    on_tensors,
    rows,
    tensors,
)

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
linear_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case.linear], ids=lambda case: case.name
)


def noise_like(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, generator=Generator().manual_seed(seed), dtype=x.dtype)


@every_case
def test_fits_the_protocols(case: Case) -> None:
    assert isinstance(case.operator, Operator)
    assert isinstance(case.sampler, Sampler)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.neutral is not None], ids=lambda case: case.name
)
def test_identity_at_neutral_theta(case: Case) -> None:
    x, _ = case.draw()
    assert case.neutral is not None
    torch.testing.assert_close(case.operator(x, case.neutral(x)), x, rtol=0, atol=1e-14)


@every_case
def test_what_is_drawn_can_be(case: Case) -> None:
    _, theta = case.draw(n=4)
    if isinstance(case.operator, Checking):
        case.operator.check(theta)


@every_case
def test_drawn_theta_changes_the_picture(case: Case) -> None:
    x, theta = case.draw(n=4)
    # What takes samples away does more than to leave some out.
    points = x[..., :: case.operator.scale, :: case.operator.scale]
    change = (case.operator(x, theta) - points).abs().mean(dim=(1, 2, 3))
    assert change.max() > 0.01


@every_case
def test_images_of_a_batch_do_not_touch(case: Case) -> None:
    x, theta = case.draw(n=3)
    y = case.operator(x, theta)
    for i in range(3):
        one = case.operator(x[i : i + 1], rows(theta, slice(i, i + 1)))
        torch.testing.assert_close(y[i : i + 1], one, rtol=0, atol=1e-13)


@every_case
def test_gradients_in_x_and_theta(case: Case) -> None:
    x, theta = case.draw(channels=1, size=(10, 11))
    named = {k: t for k, t in tensors(theta).items() if t.is_floating_point()}

    def apply(x: Tensor, *values: Tensor) -> Tensor:
        replaced = dict(zip(named, values, strict=True))
        return case.operator(x, _replace(theta, replaced))

    leaves = [t.clone().requires_grad_() for t in (x, *named.values())]
    assert torch.autograd.gradcheck(apply, leaves)


def _replace(theta: AnyTheta, named: dict[str, Tensor], prefix: str = "") -> dict[str, Any]:
    return {
        key: named.get(prefix + key, value)
        if isinstance(value, Tensor)
        else _replace(value, named, f"{prefix}{key}.")
        for key, value in theta.items()
    }


@linear_case
def test_linearity(case: Case) -> None:
    x, theta = case.draw()
    z = noise_like(x, 1)
    sums = case.operator(2 * x - 3 * z, theta)
    torch.testing.assert_close(
        sums, 2 * case.operator(x, theta) - 3 * case.operator(z, theta), rtol=0, atol=1e-12
    )


@linear_case
def test_adjoint(case: Case) -> None:
    x, theta = case.draw()
    elsewhere = noise_like(x, 1).requires_grad_()
    y = case.operator(elsewhere, theta)
    v = noise_like(y, 2)
    (transposed,) = torch.autograd.grad(y, elsewhere, v)
    left = (case.operator(x, theta) * v).sum()
    torch.testing.assert_close(left, (x * transposed).sum(), rtol=1e-12, atol=1e-12)


@linear_case
def test_the_gradient_is_the_transposed_matrix(case: Case) -> None:
    # The matrix comes of pictures that are one pixel each, without any derivative.
    scale = case.operator.scale
    x, theta = case.draw(n=1, channels=1, size=(12, 12))
    pixels = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    matrix = torch.stack([case.operator(pixel, theta).flatten() for pixel in pixels], dim=1)
    leaf = x.clone().requires_grad_()
    v = noise_like(case.operator(x, theta), 2)
    (gradient,) = torch.autograd.grad(case.operator(leaf, theta), leaf, v)
    assert matrix.shape == (144 // scale**2, 144)
    torch.testing.assert_close(gradient.flatten(), matrix.T @ v.flatten(), rtol=0, atol=1e-12)


@every_case
def test_nothing_is_kept_between_calls(case: Case) -> None:
    (x, theta), (other, other_theta) = case.draw(), case.draw(n=3, size=(23, 17), seed=1)
    kept, kept_theta = x.clone(), on_tensors(torch.clone, theta)
    before = copy.deepcopy(vars(case.operator))
    first = case.operator(x, theta)
    case.operator(other, other_theta)
    assert torch.equal(case.operator(x, theta), first)
    assert torch.equal(x, kept)
    assert all(map(torch.equal, tensors(theta).values(), tensors(kept_theta).values()))
    after = vars(case.operator)
    assert before.keys() == after.keys()
    assert all(before[k] == after[k] for k in before if isinstance(before[k], str | int | float))


@every_case
def test_no_randomness_of_its_own(case: Case) -> None:
    x, theta = case.draw()
    state = torch.get_rng_state()
    first = case.operator(x, theta)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(case.operator(x, theta), first)
    torch.set_rng_state(state)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_shape_and_type(case: Case, dtype: torch.dtype, channels: int) -> None:
    x, theta = case.draw(n=2, channels=channels, size=(12, 16), dtype=dtype)
    y = case.operator(x, theta)
    scale = case.operator.scale
    assert y.dtype == dtype
    assert y.shape == (2, channels, 12 // scale, 16 // scale)
    # Theta is stored in whatever type it was made; the picture's decides.
    other = torch.float64 if dtype == torch.float32 else torch.float32
    converted = case.operator(x, on_tensors(lambda t: t.to(other), theta))
    assert converted.dtype == dtype
    torch.testing.assert_close(converted, y, rtol=0, atol=1e-6)


@every_case
def test_levels_of_bytes_are_refused(case: Case) -> None:
    # In whole numbers theta would be truncated, and the picture black.
    x, theta = case.draw(dtype=torch.float32)
    for levels in ((255 * x).to(torch.uint8), (255 * x).long()):
        with pytest.raises(ShapeError, match="N×C×H×W of floating numbers"):
            case.operator(levels, theta)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_its_own_digits_alone(case: Case, dtype: torch.dtype) -> None:
    x, theta = case.draw(dtype=torch.float32)
    y = case.operator(x.to(dtype), theta)
    assert y.dtype == dtype
    off = (y.float() - case.operator(x.to(dtype).float(), theta)).abs().max()
    # A few roundings of numbers near 1, one for each stage and product.
    assert off < 8 * torch.finfo(dtype).eps


@every_case
def test_autocast_does_not_reach_the_physics(case: Case) -> None:
    x, theta = case.draw(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = case.operator(x, theta)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, case.operator(x, theta), rtol=0, atol=1e-6)


@every_case
def test_single_precision_is_close(case: Case) -> None:
    x, theta = case.draw()
    single = case.operator(x.float(), on_tensors(Tensor.float, theta))
    torch.testing.assert_close(single.double(), case.operator(x, theta), rtol=0, atol=2e-6)


@every_case
def test_brightness_stays_in_range(case: Case) -> None:
    x, theta = case.draw(n=4, dtype=torch.float32)
    y = case.operator(x, theta)
    assert y.min() > -case.overshoot - 1e-6
    # Where light is added, the sensor clips.
    if case.adds_light is not None:
        assert case.adds_light == bool(y.max() > 1 + case.overshoot + 1e-6)


def drawn(sampler: AnySampler, x: Tensor, generator: Generator) -> dict[str, Tensor]:
    return tensors(sampler.sample(x, generator=generator))


def by_chance(sampler: AnySampler, x: Tensor, generator: Generator) -> dict[str, Tensor]:
    """The parameters that every draw should change."""
    settled = SETTLED.get(type(sampler), frozenset())
    return {k: v for k, v in drawn(sampler, x, generator).items() if k not in settled}


@every_sampler
def test_a_seed_decides_what_is_drawn(sampler: AnySampler) -> None:
    x = torch.rand(4, 3, 24, 20)
    first = by_chance(sampler, x, Generator().manual_seed(5))
    again = by_chance(sampler, x, Generator().manual_seed(5))
    other = by_chance(sampler, x, Generator().manual_seed(6))
    assert first.keys() == again.keys() == other.keys()
    assert first
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not any(torch.equal(first[k], other[k]) for k in first)


@every_sampler
def test_the_generator_is_the_only_randomness(sampler: AnySampler) -> None:
    x = torch.rand(4, 3, 24, 20)
    state = torch.get_rng_state()
    generator = Generator().manual_seed(5)
    first = by_chance(sampler, x, generator)
    second = by_chance(sampler, x, generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(torch.equal(first[k], second[k]) for k in first)


@every_sampler
@pytest.mark.parametrize("n", [1, 3])
def test_one_row_for_each_image(sampler: AnySampler, n: int) -> None:
    x = torch.rand(n, 3, 24, 20)
    theta = drawn(sampler, x, Generator().manual_seed(0))
    for tensor in theta.values():
        assert len(tensor) == n
        assert tensor.dtype == torch.float32
        assert torch.isfinite(tensor).all()
        assert not tensor.requires_grad


@every_sampler
def test_images_of_a_batch_draw_apart(sampler: AnySampler) -> None:
    theta = by_chance(sampler, torch.rand(8, 3, 24, 20), Generator().manual_seed(0))
    for tensor in theta.values():
        assert not any(torch.equal(tensor[0], row) for row in tensor[1:])


@every_sampler
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 3)])
def test_any_size_of_picture(sampler: AnySampler, size: tuple[int, int]) -> None:
    theta = drawn(sampler, torch.rand(2, 1, *size), Generator().manual_seed(0))
    assert all(torch.isfinite(tensor).all() for tensor in theta.values())
