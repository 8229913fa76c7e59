import torch

from physgan.metrics import to_8bit


def test_values_of_a_file_stay() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    x = levels.float() / 255
    assert torch.equal(to_8bit(x), x)
    assert torch.equal((to_8bit(x) * 255).round().to(torch.uint8), levels)


def test_rounds_to_the_nearest_and_clamps() -> None:
    x = torch.tensor([-0.2, 0.49 / 255, 0.51 / 255, 100.49 / 255, 100.51 / 255, 254.51 / 255, 1.3])
    assert (to_8bit(x) * 255).round().tolist() == [0, 0, 1, 100, 101, 255, 255]
    dense = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    assert (to_8bit(dense) - dense).abs().max() <= 0.5 / 255 + 1e-12
