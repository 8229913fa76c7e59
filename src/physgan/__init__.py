"""physgan restores degraded images, and trains restorers that obey the physics of the degradation.

The public names stand in one table below and are imported when first used: `import physgan` loads
neither torch nor anything else that is slow.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgan.errors import (
        ImageError,
        PhysganError,
        RecipeError,
        ShapeError,
        ThetaError,
        TrainingError,
        UsageError,
        WeightsError,
    )
    from physgan.recipes.experiment import train_recipe
    from physgan.recipes.load import load_recipe
    from physgan.restore.restorer import Restorer
    from physgan.weights.file import load_weights

__version__ = "0.1.0"

# Public name -> the module it comes from. A new name goes here, under TYPE_CHECKING above, into
# __all__ below and into tests/test_api_surface.py.
_PUBLIC = {
    "ImageError": "physgan.errors",
    "PhysganError": "physgan.errors",
    "RecipeError": "physgan.errors",
    "Restorer": "physgan.restore.restorer",
    "ShapeError": "physgan.errors",
    "ThetaError": "physgan.errors",
    "TrainingError": "physgan.errors",
    "UsageError": "physgan.errors",
    "WeightsError": "physgan.errors",
    "load_recipe": "physgan.recipes.load",
    "load_weights": "physgan.weights.file",
    "train_recipe": "physgan.recipes.experiment",
}

# Written out, for tools that read it without running the module.
__all__ = [
    "ImageError",
    "PhysganError",
    "RecipeError",
    "Restorer",
    "ShapeError",
    "ThetaError",
    "TrainingError",
    "UsageError",
    "WeightsError",
    "__version__",
    "load_recipe",
    "load_weights",
    "train_recipe",
]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'physgan' has no attribute '{name}'", name=name, obj=None)
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value  # the next access does not come through here
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
