import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.physics.depth import (
    GRID,
    LOOK,
    OBJECTS,
    RIDGES,
    Layers,
    Regions,
    draw_objects,
    draw_ridges,
    draw_surfaces,
    foremost,
    guided,
    inverse_depth,
    picture_regions,
    places,
    scene_depth,
    sky_regions,
)
from physgan.physics.draw import smooth_field


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def patchwork(n: int, side: int = 96, seed: int = 0) -> Tensor:
    """Pictures of a few even colours with curved borders, n×3×side×side."""
    own = generator(seed)
    level = (2.99 * smooth_field(n, (side, side), 3, generator=own)).long()
    colours = torch.rand(n, 3, 3, generator=own)
    picture = colours.gather(1, level.flatten(1)[..., None].expand(-1, -1, 3))
    return picture.mT.reshape(n, 3, side, side)


# ---------------------------------------------------------------- scenes


@given(
    h=st.integers(1, 90),
    w=st.integers(1, 90),
    channels=st.integers(1, 4),
    seed=st.integers(0, 99),
    flat=st.booleans(),
)
def test_depth_reaches_one_and_no_more(
    h: int, w: int, channels: int, seed: int, flat: bool
) -> None:
    x = torch.rand(2, channels, h, w, generator=generator(seed))
    if flat:
        x = x[..., :1, :1].expand(-1, -1, h, w)
    depth = scene_depth(x, generator=generator(seed))
    assert depth.shape == (2, 1, h, w)
    assert depth.dtype == torch.float32
    assert depth.min() > 0
    assert depth.amax(dim=(1, 2, 3)).tolist() == [1, 1]


def test_one_pixel_is_at_the_end() -> None:
    assert scene_depth(torch.rand(3, 3, 1, 1), generator=generator()).flatten().tolist() == [1] * 3


def test_scenes_differ_and_reach_from_near_to_far() -> None:
    depth = scene_depth(patchwork(60), generator=generator())
    near = depth.amin(dim=(1, 2, 3))
    assert near.min() < 0.1
    assert 0.55 < near.max() < 0.71
    # What is above is farther, on the whole; that is no rule for a single picture.
    farther = depth[:, :, :32].mean(dim=(1, 2, 3)) > depth[:, :, -32:].mean(dim=(1, 2, 3))
    assert 0.6 < farther.float().mean() < 1
    apart = torch.cdist(depth.flatten(1), depth.flatten(1)) / 96
    assert apart[~torch.eye(60, dtype=torch.bool)].min() > 0.02


def on_edges(depth: Tensor, x: Tensor) -> Tensor:
    """Share of the steepest twentieth of each depth that lies beside an edge of x."""
    steep = _slope(depth)
    edge = F.max_pool2d((_slope(x) > 0.02).float(), 3, stride=1, padding=1)
    least = steep.flatten(1).quantile(0.95, dim=1)[:, None, None, None]
    return (edge * (steep > least)).sum(dim=(1, 2, 3)) / (steep > least).sum(dim=(1, 2, 3))


def _slope(t: Tensor) -> Tensor:
    down = F.pad(t.diff(dim=-2), (0, 0, 0, 1)).abs().amax(dim=1, keepdim=True)
    across = F.pad(t.diff(dim=-1), (0, 1)).abs().amax(dim=1, keepdim=True)
    return torch.maximum(down, across)


def test_depth_has_its_edges_where_the_picture_has() -> None:
    x = patchwork(60)
    depth = scene_depth(x, generator=generator())
    own = on_edges(depth, x).mean()
    others = torch.stack([on_edges(depth, x.roll(k, 0)).mean() for k in range(1, 6)]).mean()
    assert own > 2 * others  # measured: 0.43 and 0.16
    assert own > 0.35


def test_other_pictures_of_a_batch_do_not_matter() -> None:
    x, other = patchwork(3), patchwork(3, seed=1)
    other[1] = x[1]
    first, second = (scene_depth(each, generator=generator()) for each in (x, other))
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], second[0])


def test_grey_is_a_colour() -> None:
    grey = patchwork(6).mean(dim=1, keepdim=True)
    depth = scene_depth(grey, generator=generator())
    as_colour = scene_depth(grey.expand(-1, 3, -1, -1), generator=generator())
    assert (depth - as_colour).abs().mean() < 1e-3


def test_no_gradient_and_any_type() -> None:
    x = patchwork(2).double().requires_grad_()
    depth = scene_depth(x, generator=generator())
    assert not depth.requires_grad
    assert torch.equal(depth, scene_depth(x.detach().float(), generator=generator()))


# ---------------------------------------------------------------- planes in space


def test_places_are_square_pixels_about_the_middle() -> None:
    v, u = places(torch.zeros(1, 1, 2, 4))
    assert v.tolist() == [[-0.25] * 4, [0.25] * 4]
    assert u.tolist() == [[-0.75, -0.25, 0.25, 0.75]] * 2
    assert places(torch.zeros(1, 1, 1, 1)).tolist() == [[[0]], [[0]]]


def test_surfaces_are_planes_in_space() -> None:
    """Against rays cut with planes one at a time."""
    own = generator(3)
    normal = torch.randn(4, 3, 3, generator=own, dtype=torch.float64)
    distance = 0.5 + torch.rand(4, 3, 1, generator=own, dtype=torch.float64)
    normal[:, 1] = torch.tensor([0.0, 0.0, 1.0])  # the far end faces the camera
    place = torch.rand(4, 30, 2, generator=own, dtype=torch.float64) * 2 - 1
    depth = 1 / inverse_depth(normal / distance, place)
    for i, k in np.ndindex(4, 30):
        ray = np.array([*place[i, k].tolist(), 1.0])
        cuts = [float(d) / (ray @ n.numpy()) for n, d in zip(normal[i], distance[i], strict=True)]
        # The first thing before the camera along the ray, which has depth 1 at each unit.
        nearest = min(cut for cut in cuts if cut > 0)
        assert float(depth[i, k]) == pytest.approx(nearest, rel=1e-9)


def test_nothing_is_beyond_three_times_the_far_end() -> None:
    surfaces = torch.zeros(1, 2, 3)
    surfaces[0, 1] = torch.tensor([0.5, 0.0, 0.2])
    place = torch.tensor([[[-1.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(inverse_depth(surfaces, place), torch.tensor([[0.2 / 3, 0.2]]))


def test_ground_ends_at_the_horizon() -> None:
    horizon = torch.linspace(-1, 0.5, 40)
    surfaces = draw_surfaces(horizon, torch.ones(40, dtype=torch.bool), generator=generator())
    ground = surfaces[:, 0]
    at_horizon = ground[:, 0] * horizon / ground[:, 0] + ground[:, 2]
    assert at_horizon.abs().max() < 1e-6
    assert (ground[:, 0] > 0.9).all()


def test_rooms_have_ceilings_and_fields_have_none() -> None:
    outdoors = torch.arange(400) < 200
    surfaces = draw_surfaces(torch.zeros(400), outdoors, generator=generator())
    there = surfaces.abs().sum(dim=-1) > 0
    assert there[:, :2].all()
    assert not there[:200, 4].any()
    assert 0.4 < there[200:, 4].float().mean() < 0.6
    assert 0.2 < there[:200, 2:4].float().mean() < 0.3
    assert 0.6 < there[200:, 2:4].float().mean() < 0.8
    assert surfaces[:200, 1, 2].mean() < surfaces[200:, 1, 2].mean() / 3  # 1 / depth


# ---------------------------------------------------------------- what lies before them


def checkered() -> Regions:
    """Regions of a 40×40 picture, a square each, of one colour."""
    picture = torch.full((300, 3, 40, 40), 0.5)
    return picture_regions(picture, generator=generator())


def test_objects_stand_before_what_is_behind_them() -> None:
    regions = checkered()
    surfaces = draw_surfaces(
        torch.full((300,), -0.3), torch.ones(300, dtype=torch.bool), generator=generator(1)
    )
    objects = draw_objects(regions, surfaces, generator=generator(2))
    assert objects.planes.shape == (300, OBJECTS, 3)
    assert objects.shown.shape == (300, OBJECTS, GRID**2)
    shown = objects.shown.any(dim=-1)
    assert 0.5 < shown.float().mean() < 0.7  # a draw of how crowded it is, from 0.2 to 1
    # In the middle of what shows it, an object is not behind the surfaces at its foot.
    weight = objects.shown.float()
    middle = weight @ regions.place / weight.sum(dim=-1, keepdim=True).clamp(min=1)
    q = (objects.planes[..., :2] * middle).sum(dim=-1) + objects.planes[..., 2]
    behind = inverse_depth(surfaces, middle)
    assert (q > behind)[shown].float().mean() > 0.9


def test_ridges_are_farther_the_higher_they_are() -> None:
    regions = checkered()
    outdoors = torch.arange(300) < 200
    surfaces = draw_surfaces(torch.zeros(300), outdoors, generator=generator(1))
    ridges = draw_ridges(regions, surfaces, torch.zeros(300), outdoors, generator=generator(2))
    assert ridges.planes.shape == (300, RIDGES, 3)
    assert (ridges.planes[..., :2] == 0).all()
    q = ridges.planes[..., 2]
    assert (q.diff(dim=1) > 0).all()
    assert (q > surfaces[:, 1, 2:]).all()
    there = ridges.shown.any(dim=-1).any(dim=-1)
    assert not there[200:].any()
    assert 0.4 < there[:200].float().mean() < 0.6
    # Each covers more of the lower half than of the upper.
    low = regions.place[:, None, :, 0] > 0
    assert (ridges.shown & low)[:200].sum() > 1.5 * (ridges.shown & ~low)[:200].sum()


def test_the_foremost_of_layers_is_shown() -> None:
    place = torch.tensor([[[0.0, 0.0], [0.0, 0.5], [0.0, 1.0]]])
    regions = Regions(torch.zeros(1, 1, 1, dtype=torch.long), place, torch.zeros(1, 3, 3))
    flat = Layers(torch.tensor([[[0.0, 0.0, 0.6]]]), torch.tensor([[[True, True, False]]]))
    slanted = Layers(
        torch.tensor([[[0.0, 1.0, 0.2], [0.0, 0.0, 0.1]]]),
        torch.tensor([[[True, True, False], [True, False, False]]]),
    )
    got = foremost(regions, flat, slanted)
    assert torch.equal(got, torch.tensor([[[0.0, 0.0, 0.6], [0.0, 1.0, 0.2], [0.0, 0.0, 0.0]]]))


# ---------------------------------------------------------------- regions


@pytest.mark.parametrize("side", [LOOK // 2, LOOK, 100])
def test_regions_keep_to_one_side_of_an_edge(side: int) -> None:
    x = torch.zeros(4, 3, side, side)
    at = int(0.37 * side)
    x[..., at:] = 0.9
    regions = picture_regions(x, generator=generator())
    for label, colour in zip(regions.label, regions.colour, strict=True):
        left, right = label[:, : at - 2].unique(), label[:, at + 2 :].unique()
        assert not set(left.tolist()) & set(right.tolist())
        assert (colour[left] < 0.3).all()
        assert (colour[right] > 0.6).all()


def test_regions_know_where_they_are() -> None:
    x = patchwork(3)
    regions = picture_regions(x, generator=generator())
    at = places(x)
    for i, m in np.ndindex(3, GRID**2):
        inside = regions.label[i] == m
        if inside.sum() > 30:
            middle = at[:, inside].mean(dim=1)
            assert (middle - regions.place[i, m]).abs().max() < 0.15
    assert all(len(label.unique()) > 0.7 * GRID**2 for label in regions.label)


def test_sky_is_bright_smooth_and_open_to_the_top() -> None:
    noise = torch.rand(3, 96, 96, generator=generator())
    sky = torch.tensor([0.75, 0.85, 0.95])[:, None, None]
    top = torch.arange(96)[:, None] < 40

    def found(picture: Tensor) -> tuple[float, float]:
        """Share of the upper 36 and of the lower 50 rows that is taken for sky, over draws."""
        x = picture.expand(40, 3, 96, 96)
        regions = picture_regions(x, generator=generator())
        is_sky = sky_regions(x, regions, generator=generator(1))
        taken = is_sky.gather(1, regions.label.flatten(1)).reshape(40, 96, 96).float()
        return float(taken[:, :36].mean()), float(taken[:, -50:].mean())

    above, below = found(torch.where(top, sky, 0.5 * noise))
    assert above > 0.7
    assert below < 0.01
    for name, other in {
        "dark": sky * 0.4,
        "red": torch.tensor([0.95, 0.7, 0.6])[:, None, None],
        "rough": sky * (0.4 + 0.6 * noise),
    }.items():
        assert max(found(torch.where(top, other, 0.5 * noise))) < 0.01, name
    # A bright wall under dark beams.
    assert max(found(torch.where(top & (torch.arange(96)[:, None] > 12), sky, 0.1))) < 0.01
    assert max(found(torch.where(top, 0.5 * noise, sky))) < 0.01


def test_sky_is_far() -> None:
    x = 0.5 * torch.rand(1, 3, 96, 96, generator=generator()).expand(60, -1, -1, -1).clone()
    x[:, :, :40] = torch.tensor([0.75, 0.85, 0.95])[:, None, None]
    depth = scene_depth(x, generator=generator())
    # In most draws: a room may have a bright ceiling.
    sky, ground = depth[:, 0, :34].mean(dim=(1, 2)), depth[:, 0, 50:].mean(dim=(1, 2))
    assert (sky > 0.95).float().mean() > 0.5
    assert (ground[sky > 0.95] < 0.9).float().mean() > 0.8


# ---------------------------------------------------------------- the guided filter


def test_guided_filter_is_its_definition() -> None:
    """Against the local fits written out, window by window."""
    own = generator()
    guide, values = torch.rand(2, 1, 1, 9, 11, generator=own, dtype=torch.float64)
    radius, edge = 2, 0.1
    g, p = (np.pad(t[0, 0].numpy(), radius, mode="edge") for t in (guide, values))
    slope, offset = np.empty((9, 11)), np.empty((9, 11))
    for i, j in np.ndindex(9, 11):
        window = np.s_[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
        covariance = np.cov(g[window].ravel(), p[window].ravel(), bias=True)
        slope[i, j] = covariance[0, 1] / (covariance[0, 0] + edge**2)
        offset[i, j] = p[window].mean() - slope[i, j] * g[window].mean()
    a, b = (np.pad(t, radius, mode="edge") for t in (slope, offset))
    wanted = np.empty((9, 11))
    for i, j in np.ndindex(9, 11):
        window = np.s_[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
        wanted[i, j] = a[window].mean() * float(guide[0, 0, i, j]) + b[window].mean()
    wanted = wanted.clip(float(values.min()), float(values.max()))
    got = guided(guide, values, radius=radius, edge=edge)
    np.testing.assert_allclose(got[0, 0].numpy(), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("side", [LOOK, 3 * LOOK])
def test_guided_filter_keeps_what_the_guide_shows_alone(side: int) -> None:
    half = torch.arange(side) < side // 2
    guide = half[:, None].float().expand(side, side)[None, None]
    kept = guided(guide, guide)
    assert (kept - guide).abs().max() < 0.1
    across = guided(guide, guide.mT)
    assert across.diff(dim=-1).abs().max() < 0.4  # a step no more
    assert (across[..., : side // 4] > 0.99).all()
