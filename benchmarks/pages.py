"""Reading after restoring: pages that we draw, blurred at four strengths, against the known text.

    python -m benchmarks.pages --task deblur-text [--pages 12] [--output FILE.json]

The pages are drawn for this from a seed of their own, so no training has seen them; the blur and
the noise are those of `deblur-text`, held at a quarter, half, three quarters and all of their
strength. Text error is the character error rate of tesseract against the text that was drawn, of
the clear page too: what it misreads there no restorer can mend.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from torch import Generator

from physgan.data.synthesis import synthesise
from physgan.data.text.known import render_known_page
from physgan.evaluation.reading import read_text
from physgan.files import write_text
from physgan.metrics.protocol import protocol, scores
from physgan.metrics.text import character_error_rate
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from physgan.restore.restorer import Restorer

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
SIDE = 320
SEED = "pages to be read"


def measure(restorer: Restorer, strength: float, pages: int) -> dict[str, float]:
    """Mean text error and PSNR of pages blurred at one strength, before and after restoring."""
    recipe = load_recipe("deblur-text")
    arguments = recipe.physics.stages["blur"].sampler.arguments
    least = {"radius": [arguments["radius"][1]] * 2, "size": [arguments["size"][1]] * 2}
    sampler = {"name": "defocus_motion", "arguments": least | {"strength": [strength] * 2}}
    physics = load_recipe(
        "deblur-text", [f"--physics.stages.blur.sampler={json.dumps(sampler)}"]
    ).physics
    degradation = build_degradation(physics)
    generator = Generator().manual_seed(1)
    rows = []
    for index in range(pages):
        page, text = render_known_page(SIDE, Random(f"{SEED}/{index}"))
        x, y, _ = synthesise(page[None], degradation, generator=generator)
        x_hat = restorer(y)
        how = protocol("rgb")
        rows.append(
            {
                "psnr": scores(x_hat, x, how)["psnr"],
                "input_psnr": scores(y, x, how)["psnr"],
                "text_error": character_error_rate(read_text(x_hat), text),
                "input_text_error": character_error_rate(read_text(y), text),
                "clean_text_error": character_error_rate(read_text(x), text),
            }
        )
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="deblur-text")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pages", type=int, default=12)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    restorer = Restorer.from_pretrained(options.weights or options.task)
    print("| blur | PSNR before | after | text error before | after | of the clear page |")
    print("| --- | --- | --- | --- | --- | --- |")
    results = []
    for strength in STRENGTHS:
        row = measure(restorer, strength, options.pages)
        results.append({"set": f"drawn pages, blur {strength:g}", "n": options.pages, **row})
        print(
            f"| {strength:g} | {row['input_psnr']:.2f} dB | {row['psnr']:.2f} dB "
            f"| {row['input_text_error']:.3f} | {row['text_error']:.3f} "
            f"| {row['clean_text_error']:.3f} |",
            flush=True,
        )
    if options.output is not None:
        write_text(options.output, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
