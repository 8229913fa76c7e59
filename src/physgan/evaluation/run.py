"""Evaluation of a restorer on pairs: a record for each image and a summary, protocol included."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Any

from torch import Tensor

from physgan.data.pairs import Pair
from physgan.errors import ImageError, UsageError
from physgan.files import write_text
from physgan.metrics.protocol import Protocol, scores
from physgan.restore.page import enlarged, restore_images
from physgan.types import RestoreFn

PER_IMAGE = "per_image.jsonl"
SUMMARY = "summary.json"


def evaluate_pair(
    fn: RestoreFn,
    pair: Pair,
    how: Protocol,
    *,
    text_error: Callable[[Tensor, Tensor], float] | None = None,
    consistent: Callable[[Tensor, Tensor], Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Restores an observation and scores the result; see `score_pair`.

    Args:
        fn: the restorer.
        pair: the observation and the clear image behind it.
        how: the protocol.
        text_error: see `score_pair`.
        consistent: see `score_pair`.

    Returns:
        What `score_pair` does, and `seconds` that restoring took.

    Raises:
        ImageError: the pair is of sizes that do not belong together.
    """
    began = time.monotonic()
    x_hat = restore_images(fn, pair.y)
    seconds = time.monotonic() - began
    record = score_pair(
        x_hat, pair, how, scale=fn.scale, text_error=text_error, consistent=consistent
    )
    return record | {"seconds": round(seconds, 4)}


def score_pair(
    x_hat: Tensor,
    pair: Pair,
    how: Protocol,
    *,
    scale: int,
    text_error: Callable[[Tensor, Tensor], float] | None = None,
    consistent: Callable[[Tensor, Tensor], Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Scores a restored image beside the observation that it was made of.

    Args:
        x_hat: the restored image, 1×C×H×W in [0, 1].
        pair: the observation and the clear image behind it.
        how: the protocol.
        scale: how many times larger the restored image is than the observation.
        text_error: given an image and the clear one, both 1×C×H×W, how much of the text is read
            wrongly; left out where it is None.
        consistent: given an image and the observation, how well the one explains the other; see
            `consistency`. Left out where it is None.

    Returns:
        `name`, `psnr`, `ssim`, `input_psnr`, `input_ssim`, and where they were asked for
        `text_error` and `input_text_error`; `chi2` and `residual` of the restored image, with
        `clean_chi2` and `clean_residual` of the clear one, which tell what the truth gets.

    Raises:
        ImageError: the pair is of sizes that do not belong together.
    """
    if x_hat.shape != pair.x.shape:
        raise ImageError(
            f"pair '{pair.name}'",
            expected=f"a clear picture of {_size(x_hat)}, as the restorer's result",
            got=_size(pair.x),
        )
    y = enlarged(pair.y, scale)
    record: dict[str, Any] = {"name": pair.name, **scores(x_hat, pair.x, how)}
    record |= {f"input_{k}": v for k, v in scores(y, pair.x, how).items()}
    if text_error is not None:
        record["text_error"] = text_error(x_hat, pair.x)
        record["input_text_error"] = text_error(y, pair.x)
    if consistent is not None:
        record |= consistent(x_hat, pair.y)
        clean = consistent(pair.x, pair.y)
        record |= {f"clean_{name}": value for name, value in clean.items()}
    return record


def summarise(records: Sequence[Mapping[str, Any]], how: Protocol) -> dict[str, Any]:
    """Means over all images, with their number and protocol, and the least and the median gain.

    Of χ²/N there is the median too: of an image without noise it may be a hundred, see
    `consistency`, and one such image among many decides the mean.

    Raises:
        ImageError: there are no records.
    """
    if not records:
        raise ImageError("pairs to evaluate", expected="at least one", got="none")
    summary: dict[str, Any] = {"n": len(records), "protocol": how.described()}
    wanted = ("psnr", "ssim", "text_error", "chi2", "residual")
    for name in [prefix + name for name in wanted for prefix in ("", "input_", "clean_")]:
        if name in records[0]:
            summary[name] = sum(record[name] for record in records) / len(records)
    for prefix in ("", "clean_"):
        if prefix + "chi2" in records[0]:
            summary[f"{prefix}median_chi2"] = median(record[f"{prefix}chi2"] for record in records)
    gains = [record["psnr"] - record["input_psnr"] for record in records]
    summary["worst_gain"], summary["median_gain"] = min(gains), median(gains)
    if "seconds" in records[0]:
        summary["seconds"] = sum(record["seconds"] for record in records)
    return summary


def write_evaluation(
    folder: Path, records: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> None:
    """Writes `per_image.jsonl` and `summary.json` into a folder, whole or not at all.

    Raises:
        UsageError: the folder cannot be written to.
    """
    lines = "".join(json.dumps(dict(record)) + "\n" for record in records)
    whole = json.dumps(dict(summary), indent=1) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / PER_IMAGE, lines)
        write_text(folder / SUMMARY, whole)
    except OSError as error:
        raise _unwritable(folder, error) from None


def require_folder(folder: Path) -> None:
    """Before the work: raises UsageError where a folder of results cannot be made or written to."""
    whole = folder.absolute()
    try:
        with TemporaryFile(dir=next(p for p in (whole, *whole.parents) if p.exists())):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"output '{folder}'", expected="a folder that can be written to", got=str(error)
    )


def _size(image: Tensor) -> str:
    return "×".join(str(side) for side in image.shape[1:])
