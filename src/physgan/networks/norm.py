"""Instance normalisation: the one place where a network takes statistics over the whole image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InstanceNorm(nn.Module):
    """Gives each channel of each image mean 0 and variance 1, without learnt parameters.

    Biased variance, as in Ulyanov et al., "Instance Normalization" (2016). The statistics are
    taken in at least float32, also under autocast. No running statistics: training and
    restoring compute the same.

    Args:
        channels: number of channels; stands in the module's text only.
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x`, N×C×H×W with more than one pixel; the result has the type of `x`."""
        wide = x if x.dtype == torch.float64 else x.float()
        return F.instance_norm(wide, eps=self.eps).to(x.dtype)

    def extra_repr(self) -> str:
        """Channels and eps, for `print(network)`."""
        return f"{self.channels}, eps={self.eps}"
