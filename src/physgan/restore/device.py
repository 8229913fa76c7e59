"""A restorer on a device of its own, in the precision that this device is quick at and that does.

Devices with units for bf16 restore in a fraction of the time in it. Whether a network's results
suffer is not taken on trust: it is measured once, on the first picture that can tell.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from physgan.networks.ways import has_bf16
from physgan.restore.memory import device_of, ran_out
from physgan.restore.whole import padded, restore_padded
from physgan.types import Conditional, RestoreFn

_log = logging.getLogger("physgan")

_PIECE, _SMALL_PIECE = 256, 128
"""Pixels to a side of the piece on which precisions are compared: at most, and at least, for of
fewer than 128×128 px no kernel is estimated by edges."""
_SHARE = 4
"""Between these, the longer side of the picture is so many times that of the piece: comparing then
takes a fraction of the time that restoring takes."""
_LEAST = 4096
"""pixels that are enough to tell"""
_ALIKE = 0.999
"""share of the values that may not be off by more than `_OFF`"""
_OFF = 1 / 255
_PLAIN = 0.01
"""standard deviation of a picture that tells nothing"""
_FEW = 20
"""one value in so many, at least, has to be neither black nor white"""
_BANDED = 0.5
"""share of the values with no more digits than bf16 has, from which the result shows steps"""


_Result = TypeVar("_Result")


class _Place(NamedTuple):
    """A restorer, where it runs, and whether in bf16; None: that is still to be decided."""

    fn: RestoreFn
    device: torch.device
    bf16: bool | None


class Elsewhere:
    """A `RestoreFn` on a device of its own, for images on any."""

    def __init__(self, fn: RestoreFn, device: torch.device) -> None:
        self.channels, self.scale, self.multiple_of = fn.channels, fn.scale, fn.multiple_of
        self.receptive_field, self.global_statistics = fn.receptive_field, fn.global_statistics
        self.window = fn.window if isinstance(fn, Conditional) else None
        # Threads take it as a whole and change it as a whole: never a network of one device and the
        # name of another.
        self._place = _Place(fn, device, _undecided(fn, device))
        self._settling, self._moving = Lock(), Lock()
        self._origin: Elsewhere | None = None

    @property
    def fn(self) -> RestoreFn:
        """What runs there."""
        return self._place.fn

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._place.device

    @property
    def precision(self) -> str:
        """`bf16` or `fp32`: what the next picture is computed in, unless `settle` decides anew."""
        return "bf16" if self._place.bf16 else "fp32"

    @property
    def settled(self) -> bool:
        """Whether the precision is decided on, for this picture and those to come."""
        return self._place.bf16 is not None

    def __call__(self, y: Tensor) -> Tensor:
        fn, device, bf16 = self._place
        return _run(fn, y.to(device), bf16=bool(bf16)).to(y.device)

    def conditioned(self, y: Tensor) -> RestoreFn:
        """The restorer of `y` and its parts, on the same device; this one where it needs no other.

        Args:
            y: N×C×h×w that the restorer takes.
        """
        fn, device, bf16 = self._place
        if not isinstance(fn, Conditional):
            return self
        with _precision(device, bf16=bool(bf16)):
            return self._local(_Place(fn.conditioned(y.to(device)), device, bool(bf16)))

    def as_settled(self) -> Elsewhere:
        """This restorer for one picture, whose parts all have the precision of now."""
        place = self._place
        return self._local(place._replace(bf16=bool(place.bf16)))

    def anew(self) -> Elsewhere:
        """This restorer for one picture that decides on a precision by itself."""
        place = self._place
        return self._local(place._replace(bf16=_undecided(place.fn, place.device)))

    def _local(self, place: _Place) -> Elsewhere:
        local = Elsewhere(place.fn, place.device)
        local._place, local._origin = place, self
        return local

    def settle(self, y: Tensor) -> None:
        """Decides on a precision, if that is still to be done and `y` is enough to tell.

        Args:
            y: N×C×h×w, what is to be restored next.
        """
        if not self.settled and y.ndim == 4:
            rows, columns = middle(*y.shape[2:])
            self.settle_by(y[:1, :, rows, columns])

    def settle_by(self, piece: Tensor) -> None:
        """As `settle`, where only the `middle` of the picture is at hand, 1×C×h×w."""
        if self.settled or piece.shape[1] != self.channels:
            return
        if piece.dtype == torch.float32 and piece.shape[2] * piece.shape[3] >= _LEAST:
            with self._settling:
                place = self._place
                if place.bf16 is not None:
                    return
                bf16 = _serves_as_far_as_memory_goes(place.fn, piece, place.device)
                with self._moving:  # whoever moved it meanwhile has to decide again
                    if self._place is place:
                        self._place = place._replace(bf16=bf16)

    def fall_back(self, full: torch.device) -> bool:
        """Goes on on the CPU, with a warning, where memory of another device has run out.

        Args:
            full: the device whose memory ran out; nothing is left to do where another thread has
                moved on from it since.

        Returns:
            Whether there is another device to try.
        """
        with self._moving:
            if self.device != full:
                return True
            if full.type == "cpu":
                return False
            _log.warning("memory of %s ran out; going on on the CPU", full)
            self._move(torch.device("cpu"))
        if self._origin is not None:  # what it restores next would find no room there either
            self._origin.move(torch.device("cpu"), since=full)
        return True

    def move(self, device: torch.device, *, since: torch.device | None = None) -> None:
        """Goes on on another device, with a copy: others may be using the network where it is.

        Args:
            device: where to.
            since: nothing is done where it is not there any more; None for wherever it is.
        """
        with self._moving:
            if since is None or self.device == since:
                self._move(device)

    def _move(self, device: torch.device) -> None:
        fn: Any = self.fn
        if isinstance(fn, nn.Module):
            fn = _copied(fn, device)
        self._place = _Place(fn, device, _undecided(fn, device))


def with_room(fn: RestoreFn, act: Callable[[], _Result]) -> _Result:
    """What `act` gives, which runs `fn`: on the CPU, where memory of the device of `fn` runs out.

    Raises:
        MemoryError, RuntimeError: memory ran out (`ran_out`), and there is no other device.
    """
    while True:
        device = device_of(fn)
        try:
            return act()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error) or not isinstance(fn, Elsewhere) or not fn.fall_back(device):
                raise


def _undecided(fn: RestoreFn, device: torch.device) -> bool | None:
    # Only of networks do we know that they heed autocast.
    return None if isinstance(fn, nn.Module) and has_bf16(device) else False


def _copied(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy on another device, for which there need be no room on its own."""
    memo: dict[int, object] = {
        id(p): nn.Parameter(p.detach().to(device, copy=True), requires_grad=p.requires_grad)
        for p in network.parameters()
    }
    memo |= {id(b): b.detach().to(device, copy=True) for b in network.buffers()}
    return copy.deepcopy(network, memo).to(device)


def middle(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the piece of a picture that tells whether a precision serves.

    A square of a quarter of the longer side, of 128 to 256 px, in the middle; where the picture is
    narrower than that, as long as makes up for it, if the picture is.
    """
    side = min(max(_SMALL_PIECE, max(height, width) // _SHARE), _PIECE)
    rows, columns = (
        min(along, max(side, -(-(_SMALL_PIECE**2) // min(across, side))))
        for along, across in ((height, width), (width, height))
    )
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def _serves_as_far_as_memory_goes(
    fn: RestoreFn, piece: Tensor, device: torch.device
) -> bool | None:
    try:
        return bf16_serves(fn, padded(fn, piece.to(device)))
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return False


def bf16_serves(fn: RestoreFn, y: Tensor) -> bool | None:
    """Whether `fn` in bf16 gives what it gives in float32; None where `y` is too plain to tell.

    So it does where 99.9 % of the values are within 1/255 of each other and the result is not
    itself rounded to bf16, whose 128 steps from 0.5 to 1 would show in smooth skies as bands.

    Args:
        fn: the restorer.
        y: N×C×h×w that it takes, on its device.
    """
    if float(y.std()) < _PLAIN:
        return None
    fine, coarse = (_run(fn, y, bf16=bf16).clamp(0, 1) for bf16 in (False, True))
    alike = ((fine - coarse).abs() <= _OFF).float().mean()
    inner = coarse[(coarse > 0) & (coarse < 1)]
    if alike < _ALIKE:
        return False
    if inner.numel() < coarse.numel() // _FEW:
        return None
    return bool((inner == inner.bfloat16()).float().mean() <= _BANDED)


def is_conditional(fn: RestoreFn) -> bool:
    """Whether a restorer, or that which it runs elsewhere, is `Conditional`."""
    return isinstance(fn.fn if isinstance(fn, Elsewhere) else fn, Conditional)


def _run(fn: RestoreFn, y: Tensor, *, bf16: bool) -> Tensor:
    with _precision(y.device, bf16=bf16):
        return restore_padded(fn, y)


def _precision(device: torch.device, *, bf16: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
