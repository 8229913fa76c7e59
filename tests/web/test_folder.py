"""The folder of a server, and what is left of others."""

import subprocess
import sys
from pathlib import Path

import pytest

from physgan.web.folder import temporary_folder

SERVER = """
from physgan.web.folder import temporary_folder
with temporary_folder() as folder:
    (folder / "upload").write_bytes(b"a picture")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_killed_servers_folder_goes_when_the_next_starts(place: Path) -> None:
    (place / "physgan-of-somebody").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with temporary_folder() as own:
            assert own.parent == left.parent == place
            assert (left / "upload").exists()  # of a server that lives
            other.kill()
            other.wait()
            assert left.exists()
    assert not own.exists()
    with temporary_folder():
        assert not left.exists()
    assert [path.name for path in place.iterdir()] == ["physgan-of-somebody"]


def test_folders_of_others_stay(place: Path) -> None:
    for name in ("physgan-experiments", "physgan-linked"):
        (place / name).mkdir()
        (place / name / "lock").touch()
    (place / "physgan-linked" / ".physgan-server").symlink_to(place / "physgan-linked" / "lock")
    (place / "physgan-link").symlink_to(place / "physgan-experiments")
    with temporary_folder():
        pass
    assert len(list(place.iterdir())) == 3


def test_where_files_cannot_be_locked_nothing_is_tidied_up(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlockable(number: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unlockable)
    with temporary_folder() as folder, temporary_folder():
        assert folder.is_dir()
    assert not folder.exists()


def test_it_goes_when_something_fails(place: Path) -> None:
    with pytest.raises(ZeroDivisionError), temporary_folder():
        raise ZeroDivisionError
    assert list(place.iterdir()) == []
