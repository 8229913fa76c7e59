"""What a run tells while it goes: JSON lines always, TensorBoard where it is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from physgan.errors import TrainingError, install
from physgan.files import write_text


class Watcher(Protocol):
    """Somebody who is told how a run goes."""

    def stepped(self, step: int) -> None:
        """After every step, with the number of steps taken."""
        ...

    def told(self, record: Mapping[str, float | int | str]) -> None:
        """Numbers; `record["kind"]` is `train` or `validation`, `record["step"]` the step."""
        ...

    def shown(self, step: int, pictures: Sequence[tuple[str, Tensor]]) -> None:
        """Pictures by name, each C×H×W in [0, 1]: input, restored and clear side by side."""
        ...

    def close(self) -> None:
        """The run ends, well or not."""
        ...


class JsonLines:
    """Appends each record as one line of JSON.

    Args:
        path: the file; lines of steps after `from_step`, left by a run that was killed after its
            last checkpoint, are removed first.
        from_step: where the run goes on.
    """

    def __init__(self, path: Path, *, from_step: int = 0) -> None:
        if path.exists():
            lines = [line for line in path.read_text("utf-8", "replace").splitlines() if line]
            write_text(path, "".join(f"{s}\n" for s in lines if _step_of(s) <= from_step))
        self._file = path.open("a", encoding="utf-8")

    def stepped(self, step: int) -> None:
        pass

    def told(self, record: Mapping[str, float | int | str]) -> None:
        # JSON knows no NaN: what is not finite is null.
        finite = {
            k: v if isinstance(v, str) or math.isfinite(v) else None for k, v in record.items()
        }
        self._file.write(json.dumps(finite) + "\n")
        self._file.flush()

    def shown(self, step: int, pictures: Sequence[tuple[str, Tensor]]) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Writes numbers and pictures for TensorBoard.

    Args:
        folder: of the event files; made where it is missing.
        from_step: where the run goes on; what is there of later steps is hidden.

    Raises:
        TrainingError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise TrainingError(
                "TensorBoard log",
                expected="the package tensorboard",
                got="none",
                remedy=install("tensorboard"),
            ) from None
        # What a sitting that was killed wrote after this step would stand there twice.
        self._writer = SummaryWriter(str(folder), purge_step=from_step + 1)

    def stepped(self, step: int) -> None:
        pass

    def told(self, record: Mapping[str, float | int | str]) -> None:
        for name, value in record.items():
            if name != "step" and not isinstance(value, str):
                self._writer.add_scalar(f"{record['kind']}/{name}", value, int(record["step"]))

    def shown(self, step: int, pictures: Sequence[tuple[str, Tensor]]) -> None:
        for name, picture in pictures:
            self._writer.add_image(name, picture.clamp(0, 1), step)

    def close(self) -> None:
        self._writer.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line cut short by a kill
