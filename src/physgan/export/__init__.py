"""Networks as graphs for other programs: ONNX, compared with the network before it is kept."""

from __future__ import annotations

from physgan.export.onnx import Agreement, export_onnx

__all__ = ["Agreement", "export_onnx"]
