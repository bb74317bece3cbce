"""A checkpoint of the Hugging Face hub: the files of a repository that a conversion reads, of one commit, in the hub's own cache.

Knows names of files and how weights are listed, not what is in them. Pickles and code are never fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgerun.errors import ModelError, ResourceError, SourceError, Unsupported, UsageError
from edgerun.hub.hub_source import fetch, missing, the_hub
from edgerun.hub.hubcache import HubCache
from edgerun.hub.names import shown
from edgerun.hub.reference import HubReference, parse
from edgerun.hub.source import Wish
from edgerun.hub.space import require_disk

if TYPE_CHECKING:
    from edgerun.hub.huggingface import HuggingFace, RemoteFile

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
_CONFIG = "config.json"   # linked last: where it is, all is
_TOKENIZERS = frozenset(
    {"tokenizer.json", "tokenizer.model", "sentencepiece.model", "sentencepiece.bpe.model", "spiece.model", "tiktoken.model", "tekken.json", "vocab.json",
     "vocab.txt", "rwkv_vocab_v20230424.txt"}
)  # fmt: skip
_SMALL = _TOKENIZERS | {
    "README.md", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "generation_config.json",
    "chat_template.jinja", "chat_template.json", "modules.json", "1_Pooling/config.json", INDEX,
}  # fmt: skip
_LARGEST_SMALL = 200_000_000   # bytes of a file that is no weights
_MOST_FILES = 1000             # of weights
_WEIGHTS = re.compile(r"[\w.+-]{1,200}\.safetensors", re.ASCII)   # in the same folder, whatever the index says
_NUMBERED = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_SILENT = Wish()
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def repository(ref: str) -> str | None:
    """The repository that `ref` names as a whole, `hf:user/repo` or its page; None for anything else. UsageError as `parse` has it."""
    reference = parse(ref)
    return reference.repo if isinstance(reference, HubReference) and not reference.want else None


def present(repo: str) -> Path | None:
    """The folder of the checkpoint where all of it is on this machine."""
    return next((folder for folder in HubCache().snapshots(repo) if _whole(folder)), None)


def checkpoint(repo: str, wish: Wish = _SILENT) -> Path:
    """The folder with the checkpoint that `repo` holds, fetched if it is not here.

    Unsupported for a repository with pickles only, ModelError for one without weights or with an index that makes no sense, SourceError when
    the hub does not give it, ResourceError when it does not fit on the disk, UsageError for one of GGUF files.
    """
    if folder := present(repo):
        return folder
    hub, cache = the_hub(), HubCache()
    names = hub.files(repo)
    _refuse(repo, names)
    try:
        config = _described(hub, repo, _CONFIG, "main")
        small = {name: _small(hub, cache, _described(hub, repo, name, config.commit), wish) for name in names if name in _SMALL}
        weights = [hub.describe(repo, name, config.commit) for name in _weights(repo, names, small.get(INDEX))]
        require_disk(cache.root, sum(missing(cache, remote) for remote in weights))
        for remote in weights:
            fetch(hub, cache, remote, wish, magic=b"")
        return _small(hub, cache, config, wish).parent
    except OSError as error:
        raise ResourceError(f"{shown(error.filename, 200)} cannot be written ({error.strerror}); check the permissions and the disk") from error


def _refuse(repo: str, names: Sequence[str]) -> None:
    """Raise what there is to say of a repository that holds no checkpoint."""
    if not any(name.endswith(".safetensors") for name in names):
        if pickle := next((name for name in names if name.endswith(_PICKLES)), None):
            raise Unsupported(f"{repo}: {shown(pickle)} is a pickle, which can run code when it is read; take a repository with safetensors")
        if gguf := next((name for name in names if name.endswith(".gguf")), None):
            raise UsageError(f"{repo} holds GGUF files and no safetensors; fetch one of them with edgerun pull, as hf:{repo}:{shown(gguf)[1:-1]}")
        raise ModelError(f"{repo} holds no safetensors, so there is nothing to convert")
    if _CONFIG not in names:
        raise ModelError(f"{repo} has no {_CONFIG}, so it is not a checkpoint in Hugging Face form")


def _described(hub: HuggingFace, repo: str, name: str, revision: str) -> RemoteFile:
    """What the hub says of a small file. SourceError for one that is too large."""
    remote = hub.describe(repo, name, revision)
    if (remote.size or 0) > _LARGEST_SMALL:
        raise SourceError(f"{repo}: {shown(name)} has {remote.size} bytes, more than the {_LARGEST_SMALL} that are read; it was not fetched")
    return remote


def _small(hub: HuggingFace, cache: HubCache, remote: RemoteFile, wish: Wish) -> Path:
    """A small file, whose name in the hub is its hash as git has it."""
    path = fetch(hub, cache, remote, wish, magic=b"")
    if path.stat().st_size > _LARGEST_SMALL:
        raise SourceError(f"{remote.repo}: {shown(remote.name)} is larger than the {_LARGEST_SMALL} bytes that are read")
    content = path.read_bytes() if len(remote.etag) == 40 else b""
    if len(remote.etag) == 40 and hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() != remote.etag:
        path.unlink()
        cache.blob(remote.repo, remote.etag).unlink(missing_ok=True)
        raise SourceError(f"{remote.repo}: {shown(remote.name)} is not the file that the hub announced; it was removed, fetch it again")
    return path


def _weights(repo: str, names: Sequence[str], index: Path | None) -> list[str]:
    """The files with weights, of those that the repository holds."""
    wanted = _indexed(repo, index) if index else [WHOLE] if WHOLE in names else [name for name in names if _NUMBERED.fullmatch(name)]
    if not wanted:
        raise ModelError(f"{repo} has neither {INDEX} nor {WHOLE}, so nothing says which of its files are the model's weights")
    if absent := next((name for name in wanted if name not in names), None):
        raise ModelError(f"{repo} lacks {shown(absent)}, of the files in {INDEX}; the repository is not complete")
    return wanted


def _indexed(repo: str, index: Path) -> list[str]:
    """The files that an index names. ModelError for anything but safetensors beside it."""
    try:
        places = json.loads(index.read_bytes())["weight_map"]
        named: Iterable[object] = set(places.values())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{repo}: {INDEX} has no weight_map of tensors and files") from None
    found: list[str] = []
    for name in named:
        if not isinstance(name, str) or not _WEIGHTS.fullmatch(name):
            raise ModelError(f"{repo}: {INDEX} names {shown(name)}, which is not a .safetensors file in the same folder; nothing was fetched of it")
        found.append(name)
    if len(found) > _MOST_FILES:
        raise ModelError(f"{repo}: {INDEX} names {len(found)} files, more than the {_MOST_FILES} that are fetched")
    return sorted(found)


def _whole(folder: Path) -> bool:
    """Whether a folder of the cache has what a conversion needs."""
    if not (folder / _CONFIG).is_file() or not any((folder / name).is_file() for name in _TOKENIZERS):
        return False
    try:
        wanted = _indexed(folder.name, folder / INDEX) if (folder / INDEX).is_file() else [WHOLE]
    except ModelError:
        return False
    return bool(wanted) and all((folder / name).is_file() for name in wanted)
