import pytest
import torch

from physgan.errors import ShapeError
from physgan.metrics import grey


def test_weights_of_bt601() -> None:
    pure = torch.eye(3, dtype=torch.float64).view(3, 3, 1, 1)
    assert grey(pure).flatten().tolist() == [0.299, 0.587, 0.114]


def test_grey_stays_grey() -> None:
    plane = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    assert grey(plane) is plane
    torch.testing.assert_close(grey(plane.expand(2, 3, 4, 5)), plane)


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (3, 4, 4), (1, 4, 4, 4)])
def test_other_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="grey"):
        grey(torch.zeros(shape))
