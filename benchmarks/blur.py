"""Direct convolution against FFT by kernel size: where `blur` should change over.

python -m benchmarks.blur
"""

from __future__ import annotations

import statistics
import time

import torch

from physgan.physics.blur import blur


def milliseconds(side: int, method: str, *, backward: bool, runs: int = 9) -> float:
    x = torch.rand(8, 3, 128, 128, requires_grad=True)
    kernel = torch.rand(8, side, side)
    times = []
    for _ in range(runs + 2):
        began = time.perf_counter()
        y = blur(x, kernel, method=method)  # type: ignore[arg-type]
        if backward:
            y.sum().backward()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times[2:])


def main() -> None:
    print(f"{torch.get_num_threads()} threads, batch 8, 3×128×128, milliseconds (median of 9)")
    print("kernel   direct   fft   direct+backward   fft+backward")
    for side in (3, 7, 11, 13, 15, 17, 19, 21, 25, 29, 35):
        row = [
            milliseconds(side, method, backward=backward)
            for backward in (False, True)
            for method in ("direct", "fft")
        ]
        print(f"{side:2d}×{side:<2d}  " + "".join(f"{value:10.2f}" for value in row))


if __name__ == "__main__":
    main()
