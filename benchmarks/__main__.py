"""python -m benchmarks NAME [OPTIONS]: benchmarks that anyone can run; NAME --help tells more."""

from __future__ import annotations

import sys

from benchmarks import convolutions, restore, settings, train

BENCHMARKS = {
    "convolutions": convolutions.main,
    "restore": restore.main,
    "settings": settings.main,
    "train": train.main,
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        print(f"usage: python -m benchmarks {{{','.join(BENCHMARKS)}}} [--help]", file=sys.stderr)
        return 2
    return BENCHMARKS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
