"""Running any `RestoreFn` over images of any size."""

from __future__ import annotations

from physgan.restore.whole import restore_whole

__all__ = ["restore_whole"]
