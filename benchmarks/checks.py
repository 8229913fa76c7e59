"""The check sets of the six tasks, and shipped weights measured on all of them.

    python -m benchmarks.checks DATA [--task TASK ...] [--output FILE.json]

DATA holds text_pairs, face_val, natural_val, levin09, haze_val_pairs, rain100L_pairs,
rain100H_pairs and Set14 as docs/weights.md lists them; a set that is absent is named and left out.
Blurred faces and photographs are drawn by camera shake of 9 to 25 px and noise of 0, 1, 5 and 10 %,
the same for everybody: seed 20201. Told are PSNR and SSIM before and after, what becomes of
pictures that nothing is wrong with, and the checkerboard in what was changed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import scipy.stats
from torch import Tensor

from physgan.data.pairs import Pair, drawn_pairs, list_pairs, read_pair
from physgan.data.sets import Levin
from physgan.evaluation.reading import text_error
from physgan.evaluation.run import score_pair, summarise
from physgan.files import write_text
from physgan.images.read import list_images, read_8bit
from physgan.metrics.checkerboard import stride_peak
from physgan.metrics.protocol import protocol, scores
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED
from physgan.weights.file import JSON

SEED = 20201
"""of every drawn pair"""
NOISE = (0.0, 0.01, 0.05, 0.1)
FLOORS = {
    "deblur-text": [("text_pairs", "y-shift", "gain", 5.0)],
    "deblur-face": [
        ("face_val (CelebA), noise 0%", "rgb", "gain", 2.5),
        ("face_val (CelebA), noise 1%", "rgb", "gain", 2.5),
        ("face_val (CelebA), noise 5%", "rgb", "gain", 3.0),
        ("face_val (CelebA), noise 10%", "rgb", "gain", 6.0),
    ],
    "deblur-natural": [
        ("natural_val (Kodak), noise 0%", "rgb", "gain", 1.5),
        ("natural_val (Kodak), noise 1%", "rgb", "gain", 1.5),
        ("natural_val (Kodak), noise 5%", "rgb", "gain", 2.2),
        ("natural_val (Kodak), noise 10%", "rgb", "gain", 5.0),
        ("levin09", "rgb-shift", "gain", 0.0),
    ],
    "dehaze": [("haze_val_pairs", "rgb", "psnr", 21.0)],
    "derain": [("rain100L", "rgb", "gain", 4.0), ("rain100H", "rgb", "gain", 8.0)],
    "sr4": [("Set14", "y", "psnr", 27.2)],
}
"""What weights are to reach before they count as more than an experiment: the beginning of a set's
name, the protocol, PSNR or its gain over the input, in dB."""
LEAST_CLEAN, MOST_COLOUR, MOST_CHECKERBOARD = 32.0, 2.0, 2.0
"""dB and 1/255, where nothing was wrong; times its neighbourhood's amplitude"""
MOST_MISREAD = 0.5
"""share that may be left of what was misread, where text is read"""


CLEAN = {
    "deblur-text": ("text_pairs/sharp",),
    "deblur-face": ("face_val",),
    "deblur-natural": ("natural_val",),
    "dehaze": ("haze_val_pairs/clear",),
    "derain": ("rain100L_pairs/clean", "rain100H_pairs/clean"),
}
"""Folders with the clear pictures of a task's check sets; what enlarges gives none of them back."""
NOTHING_WRONG = "their clear pictures, with nothing wrong"


@dataclass(frozen=True)
class CheckSet:
    """Pairs that no training saw.

    Args:
        name: with its source.
        folder: without which it is left out.
        pairs: reads or draws them, one after the other, in an order of its own.
        protocols: that numbers are given under.
        text: whether text is read, too.
    """

    name: str
    folder: Path
    pairs: Callable[[], Iterator[Pair]]
    protocols: tuple[str, ...] = ("rgb",)
    text: bool = False


def check_sets(task: str, data: Path) -> list[CheckSet]:
    """The sets that a task is measured on, whether they are there or not."""
    if task == "deblur-text":
        folder = data / "text_pairs"
        found = partial(_files, folder / "blurred", folder / "sharp")
        name = "text_pairs (Hradiš et al., half of the test set)"
        return [CheckSet(name, folder, found, ("rgb", "y-shift"), text=True)]
    if task == "deblur-face":
        return _blurred("face_val (CelebA)", data / "face_val", task)
    if task == "deblur-natural":
        folder = data / "levin09"
        levin = CheckSet("levin09", folder, partial(_levin, folder), ("rgb-shift",))
        return [*_blurred("natural_val (Kodak)", data / "natural_val", task), levin]
    if task == "dehaze":
        folder = data / "haze_val_pairs"
        found = partial(_files, folder / "hazy", folder / "clear")
        return [CheckSet("haze_val_pairs (NYU, Make3D)", folder, found)]
    if task == "derain":
        folders = [data / f"rain100{level}_pairs" for level in "LH"]
        return [
            CheckSet(f.name.removesuffix("_pairs"), f, partial(_files, f / "rainy", f / "clean"))
            for f in folders
        ]
    if task == "sr4":
        return [CheckSet("Set14", data / "Set14", partial(_small, data / "Set14"), ("y",))]
    return []


def clean_files(task: str, data: Path) -> list[Path]:
    """Pictures of a task's check sets that nothing is wrong with, each of them once."""
    folders = [data / folder for folder in CLEAN.get(task, ())]
    found = [path for folder in folders if folder.is_dir() for path in list_images(folder)]
    once: dict[bytes, Path] = {}
    for path in found:
        once.setdefault(path.read_bytes(), path)
    return list(once.values())


def measure(
    restorer: Restorer, task: str, data: Path, *, twin: Restorer | None = None
) -> list[dict[str, JSON]]:
    """A row for each set and protocol, and one for what is clean.

    Args:
        restorer: whose numbers they are.
        task: whose check sets are taken.
        data: the folder that holds them.
        twin: trained alike but without physics; rows then tell its PSNR, by how much it is
            surpassed, and the half-width of a 95 % interval of that over the images.
    """
    rows: list[dict[str, JSON]] = []
    for each in check_sets(task, data):
        if not each.folder.is_dir():
            print(f"left out: {each.name}, no '{each.folder}'", file=sys.stderr)
            continue
        rows += _on_pairs(restorer, each, twin)
    if paths := clean_files(task, data):
        rows.append(_on_clean(restorer, paths))
    return rows


def shortfalls(task: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where measured weights are below what is asked of their task, in words; none where all is."""
    # What was not measured is not reached, and NaN reaches nothing: hence `not ... >=`.
    told = []
    for beginning, how, kind, floor in FLOORS[task]:
        found = [r for r in rows if r["set"].startswith(beginning) and r["protocol"] == how]
        if not found:
            told.append(f"{beginning}: not measured")
        for row in found:
            reached = row["psnr"] - (row["input_psnr"] if kind == "gain" else 0)
            if not reached >= floor:
                told.append(f"{row['set']}: {kind} {reached:.2f} dB, below {floor:g}")
            # What clear pictures have of it by themselves is in the difference, too.
            peak, own = row["checkerboard"], row["checkerboard_of_clean"]
            after = row.get("checkerboard_of_restored", math.nan)
            if not (peak <= MOST_CHECKERBOARD or after <= own):
                told.append(f"{row['set']}: checkerboard of {peak}")
    sets = tuple(beginning for beginning, *_ in FLOORS[task])
    for row in rows:
        if "text_error" in row and row["set"].startswith(sets):
            before, after = row["input_text_error"], row["text_error"]
            if not after <= MOST_MISREAD * before:
                told.append(f"{row['set']}: {after:.1%} misread, above {MOST_MISREAD * before:.1%}")
    if task in CLEAN:
        clear = [r for r in rows if r["set"] == NOTHING_WRONG]
        if not clear:
            told.append(f"{NOTHING_WRONG}: not measured")
        for row in clear:
            if not row["psnr"] >= LEAST_CLEAN:
                told.append(f"{NOTHING_WRONG}: {row['psnr']:.2f} dB, below {LEAST_CLEAN:g}")
            if not row["colour_moves_by"] < MOST_COLOUR:
                told.append(f"{NOTHING_WRONG}: colour moves by {row['colour_moves_by']}/255")
    return told


def _on_pairs(restorer: Restorer, each: CheckSet, twin: Restorer | None) -> list[dict[str, JSON]]:
    hows = {name: protocol(name, scale=restorer.fn.scale) for name in each.protocols}
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in hows}
    gains: dict[str, list[float]] = {name: [] for name in hows}
    changes: list[Tensor] = []
    restored: list[Tensor] = []
    clear: list[Tensor] = []
    for pair in each.pairs():
        x_hat = restorer(pair.y)
        other = None if twin is None else twin(pair.y)
        for number, (name, how) in enumerate(hows.items()):
            # How a text is read depends on no protocol.
            read = text_error if each.text and number == 0 else None
            record = score_pair(x_hat, pair, how, scale=restorer.fn.scale, text_error=read)
            records[name].append(record)
            if other is not None:
                gains[name].append(record["psnr"] - scores(other, pair.x, how)["psnr"])
        changes.append(x_hat - pair.x)
        restored.append(x_hat)
        clear.append(pair.x)
    # The coarsest stride's frequencies hold those of the finer ones.
    stride = min(32, restorer.fn.multiple_of * restorer.fn.scale)
    peak, after, own = (stride_peak(images, stride=stride) for images in (changes, restored, clear))
    rows: list[dict[str, JSON]] = []
    for name, how in hows.items():
        summary = summarise(records[name], how)
        told = ["n", "input_psnr", "psnr", "input_ssim", "ssim", "worst_gain"]
        told += ["input_text_error", "text_error", "clean_text_error"]
        row: dict[str, JSON] = {"set": each.name, "protocol": name}
        row |= {k: round(summary[k], 4) for k in told if k in summary}
        row |= {"checkerboard": round(peak, 2), "checkerboard_of_restored": round(after, 2)}
        row |= {"checkerboard_of_clean": round(own, 2)}
        if gains[name]:
            mean = statistics.mean(gains[name])
            spread = statistics.stdev(gains[name]) if len(gains[name]) > 1 else math.nan
            row["psnr_without_physics"] = round(summary["psnr"] - mean, 4)
            row["physics_gain"] = round(mean, 4)
            row["interval"] = round(
                _student(len(gains[name])) * spread / len(gains[name]) ** 0.5, 4
            )
        rows.append(row)
    return rows


def _student(n: int) -> float:
    """Student's 97.5 % quantile for the mean of n numbers."""
    return float(scipy.stats.t.ppf(0.975, n - 1)) if n > 1 else math.nan


def _on_clean(restorer: Restorer, paths: Sequence[Path]) -> dict[str, JSON]:
    how = protocol("rgb")
    psnrs, moves = [], []
    for path in paths:
        x = read_8bit(path, channels=restorer.fn.channels)[None].float() / 255
        x_hat = restorer(x)
        psnrs.append(scores(x_hat, x, how)["psnr"])
        moves.append(255 * float((x_hat - x).mean((2, 3)).abs().max()))
    return {
        "set": NOTHING_WRONG,
        "protocol": "rgb",
        "n": len(psnrs),
        "psnr": round(statistics.mean(psnrs), 4),
        "worst_psnr": round(min(psnrs), 4),
        "colour_moves_by": round(statistics.mean(moves), 2),
        "worst_colour_move": round(max(moves), 2),
    }


def _files(degraded: Path, clean: Path) -> Iterator[Pair]:
    for name, y, x in list_pairs(degraded, clean):
        yield read_pair(name, y, x)


def _blurred(name: str, folder: Path, task: str) -> list[CheckSet]:
    """A set for each level of noise; the shakes are the same in all."""
    return [
        CheckSet(f"{name}, noise {sigma:.0%}", folder, partial(_drawn, folder, task, sigma))
        for sigma in NOISE
    ]


def _drawn(folder: Path, task: str, sigma: float) -> Iterator[Pair]:
    shake = {"name": "shake", "arguments": {"size": [9, 25]}}
    noise = {"name": "noise", "arguments": {"sigma": [sigma, sigma]}}
    sensor = [noise, "clip", {"name": "round", "arguments": {"bits": 8}}]
    changed = [
        f"--physics.stages.blur.sampler={json.dumps(shake)}",
        f"--physics.sensor={json.dumps(sensor)}",
    ]
    degradation = build_degradation(load_recipe(task, changed).physics)
    for number, path in enumerate(list_images(folder)):
        yield from drawn_pairs([(path.stem, read_8bit(path), {})], degradation, seed=SEED + number)


def _small(folder: Path) -> Iterator[Pair]:
    """Pictures a quarter as large, cut so that all of it counts."""
    sensor = "[clip, {name: round, arguments: {bits: 8}}]"
    recipe = load_recipe("sr4", [f"--physics.sensor={sensor}"])
    degradation = build_degradation(recipe.physics)
    for path in list_images(folder):
        x = read_8bit(path)
        h, w = (side - side % 4 for side in x.shape[1:])
        yield from drawn_pairs([(path.stem, x[:, :h, :w], {})], degradation, seed=SEED)


def _levin(folder: Path) -> Iterator[Pair]:
    levin = Levin(folder)
    for index in range(len(levin)):
        pair = levin.read(index)
        y, x = (image.expand(-1, 3, -1, -1) for image in (pair.y, pair.x))
        yield Pair(pair.name, y, x)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table in Markdown, of the numbers that a reader asks for first."""
    lines = [
        "| set | protocol | n | PSNR before | after | SSIM before | after | worst picture |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "input_psnr" in row:
            cells = (
                f"{row['input_psnr']:.2f} dB",
                f"{row['psnr']:.2f} dB",
                f"{row['input_ssim']:.3f}",
                f"{row['ssim']:.3f}",
                f"{row['worst_gain']:+.2f} dB",
            )
        else:  # nothing was wrong with them, so there is no gain
            cells = ("", f"{row['psnr']:.2f} dB", "", "", f"{row['worst_psnr']:.2f} dB")
        first = (row["set"], f"`{row['protocol']}`", row["n"])
        lines.append("| " + " | ".join(str(cell) for cell in (*first, *cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", action="append", default=[], choices=sorted(SHIPPED))
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    results: dict[str, list[dict[str, JSON]]] = {}
    for task in options.task or sorted(SHIPPED):
        results[task] = measure(Restorer.from_pretrained(task), task, options.data)
        print(f"{task}\n\n{table(results[task])}\n", flush=True)
    if options.output:
        write_text(options.output, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
