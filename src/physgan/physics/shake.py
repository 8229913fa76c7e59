"""Shake of a camera in the hand: how it moves during an exposure, and the kernels that leaves.

The scene is far away, so that the camera's place does not matter but its three rotations do. Those
about the axes across the view (pitch and yaw) shift the whole picture; that about the line of sight
(roll) turns it about its middle. Shift and turn are simulated as motions of a mass that is pushed:
smooth, of varying speed, with a jerk now and then.

Conventions, pinned by tests: a shift is (row, column) in pixels, a positive turn is clockwise as
seen. Mean shift and mean turn over the exposure are 0, and paths lie about their mean, so that
everywhere the blurred picture lies where the clear one does.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from physgan.physics.blur import fitted, trace
from physgan.physics.checks import check_range
from physgan.physics.draw import uniform

# Of the record of a hand: its steps; how many of them the hand needs to give way to a push; how
# many jerks there are on average, and how many times faster than usual they move the hand.
_STEPS = 256
_INERTIA = 8.0
_JERKS = 1.5
_JERK_STRENGTH = 3.0

# Moments of an exposure, so many that the trace of a jerk has no gaps in a window of 60 px.
_MOMENTS = 512


class ShakeKernels:
    """Kernels of camera shake, one for the whole picture: that in its middle.

    Simulated after those who recorded or modelled how hands move (Köhler et al. 2012; Boracchi and
    Foi 2012; Schmidt et al. 2013): thin connected curves, bright where the hand rests or turns
    back. They are centred on their centroid and fill a square window of a drawn side.

    Args:
        size: least and greatest side of the window in pixels, drawn uniformly.
        exposure: least and greatest share of the recorded motion that the shutter is open for,
            drawn uniformly: 0.2 gives gentle curves, 1 curves that turn several times.
        still: share of the images that are not shaken at all, so that what is sharp stays so.
    """

    def __init__(
        self,
        size: tuple[float, float] = (9.0, 25.0),
        exposure: tuple[float, float] = (0.2, 1.0),
        still: float = 0.0,
    ) -> None:
        check_range("size of a shake kernel", size, least=1.0)
        check_exposure(exposure)
        check_range("share of images without shake", (0.0, still), greatest=1.0)
        self.size, self.exposure, self.still = size, exposure, still
        self.side = 2 * math.ceil((size[1] - 1) / 2) + 1

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel`, N×side×side, each summing to one."""
        size = uniform(x.shape[0], self.size, generator=generator)
        exposure = uniform(x.shape[0], self.exposure, generator=generator)
        if self.still:
            still = uniform(x.shape[0], (0.0, 1.0), generator=generator) < self.still
            size = size.masked_fill(still, 1.0)
        shift = fitted(hand_motion(exposure, generator=generator)[..., :2], (size - 1) / 2)
        return {"kernel": trace(shift, self.side)}


def paths_at(shift: Tensor, turn: Tensor, place: Tensor) -> Tensor:
    """The way of light from some places of the picture while the camera shifts and turns it.

    Args:
        shift: of the whole picture, N×T×2 (row, column) in pixels.
        turn: about the middle of the picture, clockwise as seen, N×T, in radians.
        place: g×2 (row, column) in pixels from the middle.

    Returns:
        Paths N×g×T×2 (row, column) in pixels about their means: what is right of the middle moves
        down as the picture turns, what is below it moves left.
    """
    lever = torch.stack([place[:, 1], -place[:, 0]], dim=-1)
    turn = turn[:, None, :, None]
    paths = shift[:, None] + turn.sin() * lever[:, None] + (turn.cos() - 1) * place[:, None]
    return paths - paths.mean(dim=-2, keepdim=True)


def hand_motion(exposure: Tensor, *, generator: Generator) -> Tensor:
    """What a hand does while the shutter is open, N×T×3: shift by row and by column, and turn.

    Position is the integral of a velocity with which a mass of inertia follows random pushes (white
    noise through a critically damped response) and rare strong ones (jerks). The pushes that shift
    favour a direction, as wrists do; those that turn are independent of them.

    Args:
        exposure: share of the record that is seen, N in (0, 1]; it begins at a random moment.
        generator: the caller's.

    Returns:
        Motions about their mean, in arbitrary units: see `fitted`.
    """
    n, device = exposure.shape[0], generator.device
    before = int(6 * _INERTIA)  # what was pushed so long ago moves the hand no more
    steps = before + _STEPS
    pushes = torch.randn(n, steps, 3, generator=generator, device=device)
    strike = torch.rand(n, steps, 1, generator=generator, device=device) < _JERKS / _STEPS
    # The usual speed is sqrt(inertia / 4), one push moves the hand at 1/e of its strength.
    strength = _JERK_STRENGTH * math.e * math.sqrt(_INERTIA / 4)
    jerks = strength * torch.randn(n, steps, 3, generator=generator, device=device)
    pushes = pushes + strike * jerks
    # Shifts are squeezed across a random direction.
    angle = uniform(n, (0.0, math.pi), generator=generator)
    squeeze = uniform(n, (0.15, 1.0), generator=generator)
    along = torch.stack([angle.cos(), angle.sin()], dim=-1)
    mix = along[:, :, None] * along[:, None, :]
    mix = mix + squeeze[:, None, None] * (torch.eye(2, device=device) - mix)
    pushes = torch.cat([pushes[..., :2] @ mix, pushes[..., 2:]], dim=-1)

    t = torch.arange(steps, device=device)
    lag = (t[before:, None] - t[None, :]).clamp(min=0) / _INERTIA
    position = (lag * torch.exp(-lag) @ pushes).cumsum(dim=1)
    return _window(position, exposure, generator=generator)


def _window(path: Tensor, share: Tensor, *, generator: Generator) -> Tensor:
    """A share N of each path N×S×D from a random moment on, at T moments, about its mean."""
    n, steps, _ = path.shape
    begin = (1 - share) * uniform(n, (0.0, 1.0), generator=generator)
    moment = torch.linspace(0, 1, _MOMENTS, device=path.device)
    at = (begin[:, None] + share[:, None] * moment) * (steps - 1)
    low = at.floor().clamp(max=steps - 2).long()
    weight = (at - low)[..., None]
    rows = torch.arange(n, device=path.device)[:, None]
    seen = (1 - weight) * path[rows, low] + weight * path[rows, low + 1]
    return seen - seen.mean(dim=1, keepdim=True)


def check_exposure(exposure: tuple[float, float]) -> None:
    """Raises ThetaError unless both shares of a record lie in [0.01, 1]."""
    check_range("exposure of a shake", exposure, least=0.01, greatest=1.0)
