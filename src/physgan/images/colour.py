"""Inks (CMYK) and Lab to sRGB, which restorers know, and back."""

from __future__ import annotations

from typing import Any, Final

from physgan.images.vips import with_fields

GREY: Final = frozenset({"b-w", "grey16"})
RGB: Final = frozenset({"srgb", "rgb", "rgb16", "scrgb"})
LAB: Final = frozenset({"lab", "labs"})
INKS: Final = "cmyk"

PROFILE: Final = "icc-profile-data"

# Keeps what both spaces hold where it is; the other intents move every colour.
_INTENT: Final = "relative"


def bands_of(space: str) -> int:
    """How many bands libvips' space has without alpha, 0 for one that we do not know."""
    if space in GREY:
        return 1
    if space in RGB or space in LAB:
        return 3
    return 4 if space == INKS else 0


def of_inks(profile: bytes) -> bool:
    """Whether a colour profile is one of inks, by its header."""
    return profile[16:20] == b"CMYK"


def to_rgb16(image: Any) -> Any:
    """sRGB of 16 bits from a pyvips image of inks or Lab, without alpha.

    Inks mean what the embedded profile says, if it is one of inks, or else libvips' own.
    """
    if image.interpretation == INKS:
        own = PROFILE in image.get_fields() and of_inks(image.get(PROFILE))
        return image.icc_transform(
            "srgb", embedded=own, input_profile="cmyk", intent=_INTENT, depth=16
        )
    return image.colourspace("rgb16")


def from_rgb16(image: Any, space: str, *, depth: int, profile: bytes | None) -> Any:
    """The way back of `to_rgb16`.

    Colours that inks cannot print become the nearest that they can. What black ink had done may
    be done by the other three: only the look is the same.

    Args:
        image: of sRGB, 16 bits, without alpha.
        space: that the image gets.
        depth: of inks, 8 or 16.
        profile: of inks; None for libvips' own, which is not embedded.
    """
    if space != INKS:
        return image.colourspace(space)
    image = image.icc_import(input_profile="srgb", intent=_INTENT)
    if profile is not None:
        image = with_fields(image, [(PROFILE, profile)])
        return image.icc_export(intent=_INTENT, depth=depth)
    image = image.icc_export(output_profile="cmyk", intent=_INTENT, depth=depth).copy()
    image.remove(PROFILE)
    return image
