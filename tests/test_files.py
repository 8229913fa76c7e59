import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from physgan.files import replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, "old"])
def test_all_goes_well(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before, encoding="utf-8")
    with replacing(path) as beside:
        assert beside.parent == path.parent  # renaming works within one file system only
        assert beside != path
        beside.write_text("new", encoding="utf-8")
        assert path.exists() == (before is not None)
    assert path.read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("before", [None, "old"])
def test_what_goes_wrong_leaves_no_trace(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before, encoding="utf-8")

    def interrupted() -> None:
        with replacing(path) as beside:
            beside.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ([] if before is None else ["a.txt"])
    assert before is None or path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("links", [True, False])
def test_what_came_to_be_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", Mock(side_effect=PermissionError))
    path = tmp_path / "a.txt"

    def write(text: str, *, meanwhile: bool) -> None:
        with replacing(path, overwrite=False) as beside:
            beside.write_text(text, encoding="utf-8")
            if meanwhile:
                path.symlink_to("nowhere")

    with pytest.raises(FileExistsError):
        write("new", meanwhile=True)
    assert path.is_symlink()
    assert names(tmp_path) == ["a.txt"]
    path.unlink()
    write("new", meanwhile=False)
    assert path.read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_name_as_long_as_there_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".txt")
    write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "new"


def test_a_body_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text(encoding="utf-8") == "old"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "nowhere" / "a.txt", "new")


def test_write_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "σ × 2\n")
    assert (tmp_path / "a.txt").read_bytes() == "σ × 2\n".encode()


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "a.bin"
    before = os.umask(mask)
    try:
        with replacing(path) as beside:
            # As writers do that create files for their owner alone.
            os.close(os.open(beside, os.O_WRONLY | os.O_CREAT, 0o600))
        assert os.umask(mask) == mask  # and the mask is as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


KILLED = """
import sys, time
from pathlib import Path
from physgan.files import replacing
with replacing(Path(sys.argv[1])) as beside:
    with beside.open("w") as file:
        file.write("new, but not all")
        file.flush()
        print("half", flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
@pytest.mark.parametrize("before", [None, "old"])
def test_a_killed_writer_leaves_the_old_file(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert path.exists() == (before is not None)
    assert before is None or path.read_text(encoding="utf-8") == before
    # What it had begun does not stand in the way of the next.
    write_text(path, "whole")
    assert path.read_text(encoding="utf-8") == "whole"


# A limit on the size of files kills a writer in the middle of one.
FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from physgan.data.shards import write_shards
from physgan.data.theta import save_theta
from physgan.networks import ResNetGenerator
from physgan.weights import WeightsInfo, save_weights

path, ones = Path(sys.argv[1]), torch.ones(1, 64, 64)
told = dict(architecture="resnet9", arguments={}, channels=3, scale=1, recipe={}, measured=[])
info = WeightsInfo(**told, commit="0", data="ones", licence="none")
crops = [(0, ones.expand(3, -1, -1).byte())]
write = {
    "weights": lambda: save_weights(path, {"a": ones}, info),
    "theta": lambda: save_theta(path, {"blur": {"kernel": ones}}),
    "shards": lambda: list(write_shards(crops, path.parent, seed=0, shard_bytes=10**6)),
}
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
write[sys.argv[2]]()
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGXFSZ")
@pytest.mark.parametrize("what", ["weights", "theta", "shards"])
def test_what_a_killed_writer_leaves_can_be_told(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.safetensors"
    killed = subprocess.run([sys.executable, "-B", "-c", FULL, str(path), what], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    # What is named as a part of a file: a run removes it at its next checkpoint, else a person can.
    assert all(name.endswith(".part") for name in names(tmp_path))
    assert names(tmp_path)


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    texts = [str(number) * 10_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(tmp_path / "a.txt", text), texts * 10))
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") in texts
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_permissions_of_what_is_replaced_stay_and_new_files_have_the_usual(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    mask = os.umask(0o027)
    try:
        write_text(path, "new")
        assert path.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mask)
    path.chmod(0o600)
    write_text(path, "newer")
    assert path.stat().st_mode & 0o777 == 0o600
