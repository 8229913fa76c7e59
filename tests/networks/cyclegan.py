"""CycleGAN's generator laid out as one sequence, as its checkpoints number it: a reference."""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, channels: int, *, running: bool, dropout: bool) -> None:
        super().__init__()

        def norm() -> nn.Module:
            return nn.InstanceNorm2d(channels, track_running_stats=running)

        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(),
            nn.ReLU(),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm(),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv_block(x)
        return result


class CycleGan(nn.Module):
    """Its state has the keys of a checkpoint: `model.1.weight` and so on."""

    def __init__(
        self,
        *,
        channels: int = 3,
        out_channels: int | None = None,
        width: int = 8,
        blocks: int = 9,
        running: bool = False,
        dropout: bool = False,
        norm: type[nn.Module] = nn.InstanceNorm2d,
    ) -> None:
        super().__init__()

        def normal(features: int) -> nn.Module:
            return norm(features, track_running_stats=running)

        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7)]
        layers += [normal(width), nn.ReLU()]
        for inner in (width, 2 * width):
            layers += [nn.Conv2d(inner, 2 * inner, 3, stride=2, padding=1)]
            layers += [normal(2 * inner), nn.ReLU()]
        for _ in range(blocks):
            layers += [Block(4 * width, running=running, dropout=dropout)]
        for inner in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(inner, inner // 2, 3, 2, 1, output_padding=1)]
            layers += [normal(inner // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels or channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Between -1 and 1, as CycleGAN sees images."""
        result: Tensor = self.model(x)
        return result

    def restore(self, y: Tensor) -> Tensor:
        """Between 0 and 1, with the statistics of each image and without dropout."""
        self.train()
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            return (self.forward(2 * y - 1) + 1) / 2


def randomise(module: nn.Module, seed: int) -> None:
    """Weights and biases large enough that every one of them is felt at the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def parameters_in_order(module: nn.Module) -> list[Tensor]:
    """Parameters in the order of the layers, which is that of their making."""
    return [parameter.detach() for parameter in module.parameters()]
