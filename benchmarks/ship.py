"""Weights of a run, measured and put into the package, with their card in docs/cards.

    python -m benchmarks.ship RUN --task deblur-text --pairs "NAME" DEGRADED CLEAN [--pages 12]

Measures on the pairs under the protocols of the task, with the text error where it is one of text,
on drawn pages, and what becomes of pictures that nothing is wrong with (`--clean NAME FOLDER`); the
numbers go into the header, and from it into the card. Nothing is shipped that is larger than the
package allows.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import statistics
from importlib import resources
from pathlib import Path

from benchmarks.pages import STRENGTHS, measure
from physgan.data.pairs import read_pairs
from physgan.errors import WeightsError
from physgan.evaluation.reading import text_error
from physgan.evaluation.run import evaluate_pairs, summarise
from physgan.files import write_text
from physgan.images.read import list_images, read_8bit
from physgan.metrics.protocol import protocol
from physgan.metrics.psnr import psnr
from physgan.restore.restorer import Restorer
from physgan.weights.card import card_of
from physgan.weights.catalogue import SHIPPED, find_weights
from physgan.weights.file import JSON, load_weights, save_weights

LARGEST = 8_000_000
"""Bytes of one shipped file."""

CARDS = Path(__file__).parents[1] / "docs" / "cards"
PROTOCOLS = {"deblur-text": ("rgb", "y-shift"), "sr4": ("y",)}
"""of the tasks that are not measured by rgb alone"""
SHOWN = ("n", "input_psnr", "psnr", "input_ssim", "ssim", "worst_gain")
READ = ("input_text_error", "text_error", "clean_text_error")


def on_pairs(
    restorer: Restorer, name: str, degraded: Path, clean: Path, *, task: str
) -> list[JSON]:
    """A row for each protocol; how a text is read depends on none and stands in the first."""
    pairs = read_pairs(degraded, clean, channels=restorer.fn.channels)
    rows: list[JSON] = []
    for which in PROTOCOLS.get(task, ("rgb",)):
        how = protocol(which, scale=restorer.fn.scale)
        read = text_error if task == "deblur-text" and which == "rgb" else None
        summary = summarise(list(evaluate_pairs(restorer.fn, pairs, how, text_error=read)), how)
        numbers = {k: round(summary[k], 4) for k in (*SHOWN, *READ) if k in summary}
        rows.append({"set": name, "protocol": which, **numbers})
    return rows


def on_clean(restorer: Restorer, name: str, folder: Path) -> JSON:
    """What becomes of pictures that nothing is wrong with: PSNR, and how far mean colours move."""
    psnrs, moves = [], []
    for path in list_images(folder):
        x = read_8bit(path, channels=restorer.fn.channels).float()[None] / 255
        x_hat = restorer(x)
        psnrs.append(float(psnr(x_hat, x, data_range=1.0)))
        moves.append(255 * float((x_hat - x).mean((2, 3)).abs().max()))
    return {
        "set": f"{name}, with nothing wrong",
        "protocol": "rgb",
        "n": len(psnrs),
        "psnr": round(statistics.mean(psnrs), 4),
        "worst_psnr": round(min(psnrs), 4),
        "colour_moves_by": round(max(moves), 2),
    }


def on_pages(restorer: Restorer, pages: int) -> list[JSON]:
    """A row for each strength of blur."""
    rows: list[JSON] = []
    for strength in STRENGTHS:
        numbers = {k: round(v, 4) for k, v in measure(restorer, strength, pages).items()}
        rows.append(
            {"set": f"drawn pages, blur {strength:g}", "protocol": "rgb", "n": pages, **numbers}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--pairs", nargs=3, action="append", default=[])
    parser.add_argument("--clean", nargs=2, action="append", default=[])
    parser.add_argument("--pages", type=int, default=0)
    options = parser.parse_args()
    source = find_weights(options.run)
    network, info = load_weights(source)
    restorer = Restorer(network, info)
    measured: list[JSON] = [] if not info.measured else [info.measured]  # type: ignore[list-item]
    for name, degraded, clean in options.pairs:
        measured += on_pairs(restorer, name, Path(degraded), Path(clean), task=options.task)
    for name, folder in options.clean:
        measured.append(on_clean(restorer, name, Path(folder)))
    if options.pages:
        measured += on_pages(restorer, options.pages)
    info = dataclasses.replace(info, measured=measured)

    folder = Path(str(resources.files("physgan.weights"))) / "shipped"
    target = folder / f"{options.task}.safetensors"
    if source.stat().st_size > LARGEST:
        raise WeightsError(
            f"weights '{source}'",
            expected=f"at most {LARGEST} bytes",
            got=str(source.stat().st_size),
        )
    save_weights(target, network.state_dict(), info)
    sums = dict(SHIPPED) | {options.task: hashlib.sha256(target.read_bytes()).hexdigest()}
    lines = [f"{digest}  {name}.safetensors\n" for name, digest in sorted(sums.items())]
    write_text(folder / "SHA256SUMS", "".join(lines))
    CARDS.mkdir(exist_ok=True)
    text = card_of(target, title=options.task)
    write_text(CARDS / f"{options.task}.md", text)
    print(text)


if __name__ == "__main__":
    main()
