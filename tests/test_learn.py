"""The example that watches a restorer learn: it runs, and what it shows it has learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import learn


def test_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(learn, "STEPS", 20)
    assert learn.main() == 0
    told = capsys.readouterr().out
    assert "step  20 of 20" in told
    assert "dB before" in told
    assert {path.name for path in (tmp_path / "learn").iterdir()} == {
        "comparison.png",
        "pictures",
        "run",
    }
    assert learn.main() == 1
    assert "'learn' is there already" in capsys.readouterr().err
