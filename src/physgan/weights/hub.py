"""Weights on the Hugging Face hub: the layout of a repository, and fetching and pushing one.

A repository holds `model.safetensors`, a weights file as any other, and `README.md`, its card under
the metadata that the hub reads. A local folder of that layout is loaded like a repository.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from physgan.errors import UsageError, WeightsError, install
from physgan.files import write_text
from physgan.weights.card import card_of
from physgan.weights.file import WeightsInfo, save_weights

if TYPE_CHECKING:
    from types import ModuleType

_log = logging.getLogger("physgan")

MODEL = "model.safetensors"
"""the name under which the hub looks for weights"""
CARD = "README.md"

_NAMES = (MODEL, "weights.safetensors")  # the second is what a run's folder holds
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[^@\s]+)?", re.ASCII)
_PATIENCE = 8.0
"""seconds in which the hub has to answer whether it has a file"""

# Licences that the hub knows by name, as they stand first in the licence of weights.
_LICENCES = {
    "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "lgpl-3.0", "mit",
    "mpl-2.0", "unlicense",
}  # fmt: skip

_T = TypeVar("_T")


def is_repository(source: str) -> bool:
    """Whether a text may name a repository: `org/name` or `org/name@revision`."""
    found = _REPOSITORY.fullmatch(source)
    return found is not None and not source.lower().endswith((".safetensors", ".onnx"))


def require_repository(name: str) -> None:
    """Raises UsageError unless `name` is `org/name`."""
    if "@" in name or not is_repository(name):
        raise UsageError("repository of the hub", expected="'org/name'", got=repr(name))


def save_folder(
    folder: Path,
    state: Mapping[str, Tensor],
    info: WeightsInfo,
    *,
    name: str = "",
    overwrite: bool = False,
) -> None:
    """Writes a folder as a repository holds it.

    Args:
        folder: made where it is missing.
        state: `network.state_dict()`; kept in half precision where that loses nothing.
        info: the header.
        name: `org/name` that the folder is for, for the card; the folder's own by default.
        overwrite: replaces files of the layout that are there.

    Raises:
        WeightsError: the files are there, or cannot be written; see `save_weights`.
    """
    there = [file for file in (MODEL, CARD) if (folder / file).exists()]
    if there and not overwrite:
        raise WeightsError(
            f"folder '{folder}'",
            expected=f"neither {MODEL} nor {CARD} in it",
            got=" and ".join(there),
            remedy="Replace them with overwrite=True.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / MODEL, state, info, dtype=_exact(state))
        write_text(folder / CARD, readme(folder / MODEL, info, name=name or folder.resolve().name))
    except OSError as error:
        raise WeightsError(
            f"folder '{folder}'", expected="one that can be written", got=str(error)
        ) from None


def readme(model: Path, info: WeightsInfo, *, name: str) -> str:
    """The card of a weights file as the hub reads it: metadata, the card, and how to use it.

    Args:
        model: the file.
        info: its header.
        name: what `from_pretrained` is given.
    """
    import yaml  # for this alone, while whoever restores starts

    task = info.recipe.get("name") if isinstance(info.recipe, Mapping) else None
    tags = ["image-restoration", *([str(task)] if task else []), info.architecture]
    head = {
        **_licence(info.licence),
        "library_name": "physgan",
        "pipeline_tag": "image-to-image",
        "tags": list(dict.fromkeys(tags)),
    }
    usage = f"""## Use

```
pip install -c constraints.txt -e '.[hub]'  # in a checkout of physgan
physgan restore PICTURES --weights {name} --output restored
```

```python
import physgan

restorer = physgan.Restorer.from_pretrained({name!r})
x_hat = restorer(y)  # a tensor N×{info.channels}×H×W in [0, 1]
```
"""
    body = card_of(model, title=str(task or name.rpartition("/")[2]))
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    summary = f"\n{info.description}\n" if info.description else ""
    heading, rest = body.split("\n", 1)
    return f"---\n{front}---\n\n{heading}\n{summary}\n{usage}{rest}"


def fetch(source: str) -> Path:
    """The weights file of a repository, from the hub or, where that is not reached, the cache.

    Args:
        source: `org/name`, or `org/name@revision`: a branch, a tag or a commit.

    Raises:
        UsageError: huggingface_hub is not installed.
        WeightsError: there is no such repository, revision or file, or the hub is not reached and
            the cache does not hold it; that is told within seconds.
    """
    hub = _hub(
        f"weights '{source}'",
        expected="a file, a folder, or huggingface_hub installed to ask the hub",
        got="none of them",
    )
    repository, _, given = source.partition("@")
    revision = given or None
    for file in _NAMES:
        url = hub.hf_hub_url(repository, file, revision=revision)
        try:
            # One question that is not asked again: the library's own tries for half a minute.
            # True sends the token of whoever is logged in, and is an error where nobody is.
            token = True if hub.get_token() else None
            _in_time(partial(hub.get_hf_file_metadata, url, token=token))
        except hub.errors.RemoteEntryNotFoundError:
            continue
        except Exception as error:  # of no common kind, and another for each way to be offline
            if fault := _refusal(source, error, hub):
                raise fault from None
            return _cached(source, repository, revision, error, hub)
        try:
            return Path(hub.hf_hub_download(repository, file, revision=revision))
        except Exception as error:  # as above
            raise _refusal(source, error, hub) or WeightsError(
                f"weights '{source}'",
                expected="to be fetched from the hub",
                got=_told(error),
                remedy="Try again: what came is kept.",
            ) from None
    raise WeightsError(
        f"repository '{source}'",
        expected=f"{MODEL} in it, weights of physgan",
        got="no such file",
    )


def push(folder: Path, name: str, *, private: bool | None, token: str | None) -> str:
    """Uploads a folder as a repository, which is made where it is missing; returns its address.

    Raises:
        UsageError: `name` is not `org/name`, or huggingface_hub is not installed.
        WeightsError: the hub is not reached, or refuses.
    """
    require_repository(name)
    hub = _hub(f"repository '{name}'", expected="huggingface_hub installed", got="none")
    hub_api = hub.HfApi(token=token)
    try:
        url = hub_api.create_repo(name, private=private, exist_ok=True)
        hub_api.upload_folder(
            repo_id=name, folder_path=folder, commit_message="Weights and card of physgan"
        )
    except Exception as error:  # of no common kind
        got = _told(error)
        status = _status(error)
        remedy = {
            401: "Log in with 'hf auth login', or give token=...",
            403: "The token may not write there: take one that may, or another name.",
        }.get(status or 0, "")
        if status is None:
            remedy = "Is there a connection? save_pretrained(folder) needs none."
        raise WeightsError(
            f"repository '{name}'", expected="the hub to take it", got=got, remedy=remedy
        ) from None
    return str(url)


def _hub(what: str, *, expected: str, got: str) -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise UsageError(what, expected=expected, got=got, remedy=install("hub")) from None
    return huggingface_hub


def _in_time(ask: Callable[[], _T]) -> _T:
    """What `ask` gives or raises; TimeoutError where it takes too long.

    Time-outs of sockets do not do: they hold for each address of a name, and not for finding them.
    """
    answer: Future[_T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=run, name="asking the hub", daemon=True).start()
    return answer.result(timeout=_PATIENCE)


def _cached(
    source: str, repository: str, revision: str | None, error: Exception, hub: ModuleType
) -> Path:
    """The copy in the cache, where the hub could not be asked."""
    for file in _NAMES:
        try:
            path = hub.hf_hub_download(repository, file, revision=revision, local_files_only=True)
        except hub.errors.LocalEntryNotFoundError:
            continue
        _log.warning("weights '%s' are the copy in the cache: %s", source, _told(error))
        return Path(path)
    raise WeightsError(
        f"weights '{source}'",
        expected="a file, a folder, or a repository of the hub",
        got=f"nothing of that name here, no copy in the cache, and {_told(error)}",
        remedy="Fetch it once where there is a connection, or name a file.",
    )


def _refusal(source: str, error: Exception, hub: ModuleType) -> WeightsError | None:
    """What the hub, which was reached, has against the request; None: it was not reached."""
    got, remedy = {
        "GatedRepoError": (
            "one whose conditions you have not accepted",
            "Accept them on its page, and log in with 'hf auth login'.",
        ),
        "RepositoryNotFoundError": (
            "nothing of that name here, and none on the hub that you may see",
            "For a private one: hf auth login.",
        ),
        "RevisionNotFoundError": ("no such revision", ""),
        "HFValidationError": ("a name that the hub does not take", ""),
    }.get(type(error).__name__, ("", ""))
    if not got:
        return None
    return WeightsError(
        f"weights '{source}'",
        expected="a file, a folder, or a repository of the hub",
        got=got,
        remedy=remedy,
    )


def _told(error: Exception) -> str:
    """What went wrong, as one clause."""
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    status = _status(error)
    if status is not None:
        return f"the hub answers with status {status}"
    if isinstance(error, TimeoutError):
        return f"no answer of the hub in {_PATIENCE:g} s"
    first = str(error).strip().partition("\n")[0]
    return f"the hub is not reached ({first or type(error).__name__})"


def _status(error: Exception) -> int | None:
    """The status of an HTTP answer, where it was one."""
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _licence(licence: str) -> dict[str, str]:
    """A licence as the hub's metadata have it."""
    text = licence.partition("(")[0].strip()
    if text.lower() in _LICENCES:
        return {"license": text.lower()}
    name = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
    return {"license": "other", "license_name": name or "unknown"}


def _exact(state: Mapping[str, Tensor]) -> torch.dtype | None:
    """Half precision, if that holds all of a state as it is."""
    floating = [tensor for tensor in state.values() if tensor.is_floating_point()]
    same = all(torch.equal(tensor.half().to(tensor.dtype), tensor) for tensor in floating)
    return torch.float16 if same else None
