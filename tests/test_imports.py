"""The import rule, that its contract catches what breaks it, and what must not load early."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HEAVY = {
    "gradio",
    "huggingface_hub",
    "lightning_fabric",
    "numpy",
    "onnx",
    "onnxruntime",
    "pydantic",
    "pyvips",
    "tensorboard",
    "torch",
    "torchmetrics",
    "tyro",
}

ROOMS = [
    "baselines",
    "cli",
    "data",
    "evaluation",
    "export",
    "images",
    "metrics",
    "networks",
    "objective",
    "physics",
    "recipes",
    "reproduce",
    "restore",
    "training",
    "weights",
    "web",
]


def lint(folder: Path, sources: Path) -> subprocess.CompletedProcess[str]:
    """Runs the contract of our pyproject.toml over the package `physgan` in `sources`."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-logo",
            "--no-cache",
            "--config",
            str(ROOT / "pyproject.toml"),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(sources), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package `physgan` with every room of the design, all empty."""
    package = tmp_path / "physgan"
    package.mkdir()
    for name in ["__init__", "__main__", "errors", "files", "fourier", "means", "resize", "types"]:
        (package / f"{name}.py").touch()
    for room in ROOMS:
        (package / room).mkdir()
        (package / room / "__init__.py").touch()
        (package / room / "inner.py").touch()
    return package


def test_our_package_keeps_the_contract(tmp_path: Path) -> None:
    result = lint(tmp_path, ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_whole_house_keeps_the_contract(house: Path) -> None:
    allowed = {
        "cli/inner.py": "import physgan.restore, physgan.physics, physgan.baselines",
        "training/inner.py": "import physgan.data.inner, lightning_fabric",
        "web/__init__.py": "import gradio, physgan.evaluation.inner",
        "export/inner.py": "import onnx, onnxscript, physgan.weights.inner",
        "weights/onnx.py": "import onnxruntime, physgan.networks",
        "weights/hub.py": "import huggingface_hub",
        "data/inner.py": "import physgan.physics.inner, physgan.images",
        "physics/inner.py": "import physgan.types, physgan.errors, physgan.resize",
        "networks/inner.py": "import physgan.resize",
    }
    for path, line in allowed.items():
        (house / path).write_text(line + "\n", encoding="utf-8")
    result = lint(house.parent, house.parent)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("faults", "contract"),
    [
        ({"physics/inner.py": "import physgan.training"}, "A room imports only rooms below it"),
        ({"physics/inner.py": "from physgan.networks import inner"}, "only rooms below it"),
        ({"data/inner.py": "import physgan.weights"}, "only rooms below it"),
        ({"training/inner.py": "import physgan.recipes.inner"}, "only rooms below it"),
        ({"errors.py": "from physgan import types"}, "only rooms below it"),
        ({"resize.py": "from physgan import types"}, "only rooms below it"),
        ({"unplaced.py": ""}, "only rooms below it"),
        ({"restore/inner.py": "import physgan.baselines"}, "Blind restoring"),
        ({"weights/inner.py": "def late():\n    import physgan.physics.inner"}, "Blind restoring"),
        (
            {
                "restore/inner.py": "import physgan.data.inner",
                "data/inner.py": "from physgan import physics",
            },
            "Blind restoring",
        ),
        ({"objective/inner.py": "import lightning_fabric"}, "imports Fabric"),
        ({"training/inner.py": "import lightning"}, "imports Fabric"),
        ({"cli/inner.py": "import gradio"}, "imports gradio"),
        ({"weights/onnx.py": "import onnx"}, "imports onnx and onnxscript"),
        ({"web/inner.py": "import onnxscript"}, "imports onnx and onnxscript"),
        ({"export/inner.py": "import onnxruntime"}, "imports onnxruntime"),
        ({"weights/inner.py": "import onnxruntime"}, "imports onnxruntime"),
        ({"restore/inner.py": "import huggingface_hub"}, "imports huggingface_hub"),
    ],
)
def test_a_breach_is_caught(house: Path, faults: dict[str, str], contract: str) -> None:
    for path, text in faults.items():
        (house / path).write_text(text + "\n", encoding="utf-8")
    result = lint(house.parent, house.parent)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(contract in line for line in broken), result.stdout + result.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import physgan",
        "import physgan; physgan.PhysganError",
        "import physgan.types",
        "from physgan.cli import main; assert main(['--help']) == 0",
        "from physgan.cli import main; assert main(['--version']) == 0",
        "from physgan.cli import main; assert main([]) == 2",
        "from physgan.cli import main; assert main(['nothing']) == 2",
    ],
)
def test_nothing_heavy_loads_early(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sorted(sys.modules), sep='\\n')"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    modules = set(result.stdout.splitlines())
    assert "physgan" in modules
    assert not modules & HEAVY
