"""Restoring: pixels in a second, folders of small pictures, the start of a process, large files.

    python -m benchmarks restore [speed] [folder] [start] [large] [graphs] [--rounds 7]
                                 [--output FILE.json]

speed   a picture of one megapixel by the default network and by the paper's, against the same
        network run plainly (fp32, contiguous, torch's own convolutions), taking turns; the
        arithmetic is counted as direct convolutions would need it.
graphs  half a megapixel by everything that ships: by torch as `physgan restore` does it, and by
        onnxruntime from graphs of `physgan export`, in fp32 and in fp16, taking turns.
folder  500 pictures of 80×80, and 500 of 48 to 112 px, as a folder and one by one, taking turns.
start   a file of 512×512 by `physgan restore`, the whole process, against `import torch` and the
        time that the computing takes in a process that is warm.
large   files of 1 to 100 megapixels by the default network: seconds, and the most resident memory.

All of them by default. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyvips
import torch
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import describe, forget_peak, matrix_rates, peak
from benchmarks.turns import in_turns, ratios, told
from physgan.export import export_onnx
from physgan.networks import GENERATORS, channels_last, convolution
from physgan.restore.file import restore_file
from physgan.restore.files import restore_files
from physgan.restore.plan import Job
from physgan.restore.restorer import Restorer
from physgan.restore.whole import restore_whole
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import load_weights

NETWORKS = ("unet", "resnet9")
TASK = "deblur-text"
DEFAULT = "derain"
"""whose network is the default one"""
MEGAPIXELS = (1, 4, 12, 36, 100)


def speed(rounds: int) -> dict[str, Any]:
    """Seconds of a megapixel, ours and plainly."""
    y = torch.rand(1, 3, 1000, 1000, generator=Generator().manual_seed(0))
    rates = matrix_rates(torch.device("cpu"))
    found: dict[str, Any] = {"matrix_tflops": rates}
    for name in NETWORKS:
        plain = GENERATORS[name](channels=3).eval()
        ours = Restorer(channels_last(copy.deepcopy(plain)))

        def plainly(plain: Any = plain) -> Tensor:
            with _library():
                return restore_whole(plain, y)

        seconds = in_turns({"ours": lambda ours=ours: ours(y), "plain": plainly}, rounds)
        with _library(), FlopCounterMode(display=False) as counter:
            restore_whole(plain, y)
        tflop = counter.get_total_flops() / 1e12
        median = statistics.median(seconds["ours"])
        found[name] = {
            "seconds": seconds,
            "ratio": ratios(seconds["ours"], seconds["plain"]),
            "tflop": tflop,
            "precision": ours.fn.precision,
            "share_of_rate": tflop / median / rates[ours.fn.precision],
        }
        print(
            f"{name}: {median:.2f} s a megapixel, {tflop / median:.3f} TFLOP/s, "
            f"plainly / ours {told(found[name]['ratio'])}"
        )
    return found


def graphs(rounds: int) -> dict[str, Any]:
    """Seconds of half a megapixel, by torch and by onnxruntime."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for task in sorted(SHIPPED):
            network, info = load_weights(shipped_file(task))
            side = 704 // info.scale  # of the observation; the result is always as large
            y = torch.rand(1, 3, side, side, generator=Generator().manual_seed(0))
            ways: dict[str, Callable[[], object]] = {}
            torchs = Restorer.from_pretrained(task, device="cpu")
            ways["torch"] = lambda restorer=torchs, y=y: restorer(y)
            for kind, half in (("onnx", False), ("onnx, half", True)):
                path = Path(name, f"{task}-{kind}.onnx")
                export_onnx(network, info, path, half=half)
                run = Restorer.from_pretrained(path, device="cpu")
                ways[kind] = lambda restorer=run, y=y: restorer(y)
            seconds = in_turns(ways, rounds)
            found[task] = {"side": side, "seconds": seconds}
            for kind in list(ways)[1:]:
                ratio = ratios(seconds["torch"], seconds[kind])
                found[task][f"{kind} / torch"] = ratio
                median = statistics.median(seconds[kind])
                print(f"{task}: {kind} {median:.2f} s, times torch's {told(ratio)}", flush=True)
    return found


def folder(rounds: int) -> dict[str, Any]:
    """Seconds of 500 small pictures, as a folder and one by one."""
    return {
        "of one size": _folder((80, 80), rounds),
        "of many sizes": _folder((48, 112), rounds),
    }


def _folder(sides: tuple[int, int], rounds: int) -> dict[str, Any]:
    restorer = Restorer.from_pretrained(TASK)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        draws = Generator().manual_seed(0)
        sources = [place / "in" / f"{i}.png" for i in range(500)]
        for number, source in enumerate(sources):
            height, width = torch.randint(sides[0], sides[1] + 1, (2,), generator=draws).tolist()
            _picture(width, height, source, seed=number)

        def together() -> None:
            jobs = [Job(source, place / "out" / source.name) for source in sources]
            for outcome in restore_files(restorer.fn, jobs, overwrite=True):
                assert outcome.status == "restored", outcome

        def apart() -> None:
            for source in sources:
                restore_file(restorer.fn, source, place / "out" / source.name)

        seconds = in_turns({"folder": together, "one by one": apart}, rounds)
    ratio = ratios(seconds["folder"], seconds["one by one"])
    print(
        f"500 pictures of {sides[0]} to {sides[1]} px: "
        f"{statistics.median(seconds['folder']):.1f} s, "
        f"one by one / as a folder {told(ratio)}"
    )
    return {"seconds": seconds, "ratio": ratio}


def start(rounds: int) -> dict[str, Any]:
    """Seconds of a whole process for a picture of 512×512, of `import torch`, and of computing."""
    y = torch.rand(1, 3, 512, 512, generator=Generator().manual_seed(0))
    restorer = Restorer.from_pretrained(TASK)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())

    def process(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, *arguments], check=True, capture_output=True, env=environment
        )

    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name, "in.png"), Path(name, "out")
        _picture(512, 512, source)
        whole = ("restore", str(source), "--output", str(output), "--task", TASK, "--overwrite")
        seconds = in_turns(
            {
                "process": lambda: process("-m", "physgan", *whole),
                "import torch": lambda: process("-c", "import torch"),
                "computing": lambda: restorer(y),
            },
            rounds,
        )
    beyond = [a - b for a, b in zip(seconds["process"], seconds["import torch"], strict=True)]
    ratio = ratios(seconds["computing"], beyond)
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    print(
        f"512×512: process {medians['process']:.2f} s, import torch "
        f"{medians['import torch']:.2f} s, computing {medians['computing']:.2f} s; "
        f"(process - import) / computing {told(ratio)}"
    )
    return {"seconds": seconds, "ratio": ratio}


def large(rounds: int) -> dict[str, Any]:
    """Seconds and gigabytes of large files, each in a process of its own; once each."""
    found: dict[str, Any] = {}
    for megapixels in MEGAPIXELS:
        with tempfile.TemporaryDirectory() as name:
            side = round((megapixels * 1e6) ** 0.5)
            source, target = Path(name, "in.tif"), Path(name, "out.tif")
            _picture(side, side, source)
            given = (str(source), str(target), torch.get_num_threads())
            script = f"from benchmarks.restore import one; one(*{given!r})"
            done = subprocess.run(
                [sys.executable, "-c", script], check=True, capture_output=True, text=True
            )
        found[str(megapixels)] = took = json.loads(done.stdout)
        print(
            f"{megapixels} megapixels: {took['seconds']:.1f} s, "
            f"{took['seconds'] / megapixels:.2f} s a megapixel, {took['memory_gb']:.2f} GB",
            flush=True,
        )
    return found


def one(source: str, target: str, threads: int) -> None:
    """Restores one file and prints what it took, as JSON."""
    torch.set_num_threads(threads)
    forget_peak(torch.device("cpu"))
    restorer = Restorer.from_pretrained(DEFAULT)
    began = time.perf_counter()
    restorer.restore_file(source, target)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "memory_gb": peak(torch.device("cpu"))}))


def _library() -> Any:
    return patch.object(convolution, "_may_choose", lambda x, weight: False)


def _picture(width: int, height: int, path: Path, *, seed: int = 0) -> None:
    """A picture of soft noise."""
    path.parent.mkdir(exist_ok=True)
    noise = [
        pyvips.Image.gaussnoise(width, height, mean=128, sigma=60, seed=seed + i) for i in range(3)
    ]
    picture = noise[0].bandjoin(noise[1:]).gaussblur(2).cast("uchar").copy(interpretation="srgb")
    picture.write_to_file(str(path))


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "speed": speed,
    "folder": folder,
    "start": start,
    "large": large,
    "graphs": graphs,
}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks restore",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=7, help="turns of each way")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(torch.device("cpu")),
    }
    for name in options.parts or PARTS:
        result[name] = PARTS[name](options.rounds)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0
