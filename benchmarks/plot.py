"""The plot of time and memory by size, of what `python -m benchmarks restore large` measured.

python -m benchmarks.plot benchmarks/results/FILE.json docs/pictures/large.svg
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

INK, TIME, MEMORY = "#57606a", "#0969da", "#bf3989"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("target", type=Path, help="SVG file")
    options = parser.parse_args()
    found = json.loads(options.results.read_text(encoding="utf-8"))["large"]
    megapixels = [float(size) for size in found]
    seconds = [told["seconds"] for told in found.values()]
    memory = [told["memory_gb"] for told in found.values()]
    mpl.rcParams.update({"svg.hashsalt": "physgan", "font.size": 9, "text.color": INK})
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    time, room = figure.subplots(1, 2)
    time.loglog(megapixels, seconds, "o-", color=TIME)
    rate = seconds[-1] / megapixels[-1]
    time.loglog(megapixels, [rate * size for size in megapixels], ":", color=INK)
    time.set_title("seconds, and a straight line through the last", fontsize=9)
    room.semilogx(megapixels, memory, "o-", color=MEMORY)
    room.set_ylim(0, max(3, 1.1 * max(memory)))
    room.set_title("most resident memory, GB", fontsize=9)
    for axes in (time, room):
        axes.set_xlabel("megapixels", color=INK)
        axes.tick_params(colors=INK)
        axes.grid(alpha=0.25)
        for spine in axes.spines.values():
            spine.set_color(INK)
    figure.savefig(options.target, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
