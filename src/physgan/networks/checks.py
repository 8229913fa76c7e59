"""What every network refuses before it computes: wrong arguments and images it cannot take."""

from __future__ import annotations

from torch import Tensor

from physgan.errors import ShapeError


def check_arguments(*, at_least: int = 1, **arguments: object) -> None:
    """Raises unless every argument of a network is an integer of at least `at_least`.

    Args:
        at_least: smallest allowed value.
        **arguments: the arguments by name.

    Raises:
        ShapeError: an argument is not an integer, or is too small.
    """
    for name, value in arguments.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise ShapeError(
                f"the network's argument '{name}'",
                expected=f"an integer of at least {at_least}",
                got=repr(value),
            )


def check_images(images: Tensor, *, channels: int, minimum: int, multiple_of: int = 1) -> None:
    """Raises unless a network can take `images`.

    Args:
        images: N×C×H×W, floating.
        channels: C of the network.
        minimum: smallest H and W in pixels.
        multiple_of: H and W must be multiples of this.

    Raises:
        ShapeError: rank, type, channels or size is wrong.
    """
    if images.ndim != 4:
        raise ShapeError(
            "the images handed to a network",
            expected="four dimensions N×C×H×W",
            got=f"{images.ndim} dimensions",
            remedy="Add a batch dimension to a single image: y[None].",
        )
    if not images.is_floating_point():
        raise ShapeError(
            "the images handed to a network",
            expected="floating numbers in [0, 1]",
            got=str(images.dtype),
            remedy="Divide 8-bit values by 255 first.",
        )
    if images.shape[1] != channels:
        raise ShapeError(
            "the channels of the images",
            expected=f"{channels}, as the network was built",
            got=str(images.shape[1]),
            remedy="Convert the images, or build the network with another 'channels'.",
        )
    height, width = images.shape[2], images.shape[3]
    if height < minimum or width < minimum or height % multiple_of or width % multiple_of:
        whole = f" and multiples of {multiple_of}" if multiple_of > 1 else ""
        raise ShapeError(
            "the size of the images",
            expected=f"sides of at least {minimum} px{whole}",
            got=f"{height}×{width}",
            remedy="Pad the images first; physgan.restore does so for a restorer.",
        )
