"""From a model's name to a folder on this machine.

Owns: telling folders, hub ids and the demo model apart; downloading. Must not know: what is in the
folder. HF_HOME, HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN work as in every Hugging Face program.
"""

import logging
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from engine.demo_model import DEMO_MODEL_PATH
from engine.errors import ModelRefusedError

__all__ = ["DEMO_MODEL", "resolve_model"]

DEMO_MODEL = "demo"

_log = logging.getLogger(__name__)

# Weights in other formats than safetensors, and copies for other programs, stay on the hub.
_WANTED = ["*.json", "*.jinja", "*.safetensors", "*.txt", "*.model"]
_UNWANTED = ["original/*", "consolidated*", "onnx/*", "openvino/*", "metal/*", "gguf/*"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve_model(model: str, revision: str | None = None) -> Path:
    """The folder that holds `model`: a folder's path, a hub id such as "Qwen/Qwen3-0.6B" (its
    `revision`, downloaded unless it is in the local cache), or "demo".

    Raises ModelRefusedError if there is no such model, or the hub cannot be reached.
    """
    if model == DEMO_MODEL:
        return DEMO_MODEL_PATH
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return folder
    if model and folder.exists():
        raise ModelRefusedError(
            f"cannot run {model}: it is a file; --model wants the folder of a checkpoint "
            "(config.json, *.safetensors, tokenizer.json)"
        )
    if not _HUB_ID.fullmatch(model):
        raise ModelRefusedError(f"cannot run {model}: there is no such folder")
    return _download(model, revision)


def _download(model: str, revision: str | None) -> Path:
    label = f"{model} (revision {revision})" if revision else model
    try:
        folder = snapshot_download(
            model, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
    except GatedRepoError as error:
        reason = "its authors grant access one by one; ask on its page and set HF_TOKEN"
        raise ModelRefusedError(f"cannot run {label}: {reason}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        reason = "neither a folder here nor a model on the hub has that name"
        raise ModelRefusedError(f"cannot run {label}: {reason}") from error
    except LocalEntryNotFoundError as error:
        reason = "no such folder, it is not in the local cache, and the hub was not reached"
        raise ModelRefusedError(f"cannot run {label}: {reason}") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelRefusedError(f"cannot run {label}: the download failed: {error}") from error
    _log.info("model %s is in %s", label, folder)
    return Path(folder)
