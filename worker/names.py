"""Names: the models a process serves, and its own name on the queue.

Owns: how they are derived. Must not know: who uses them.
"""

import os
import re
import secrets
import socket
from pathlib import Path

from worker.options import ModelOptions

__all__ = ["new_consumer_name", "served_names"]

_DEMO = "demo"


def served_names(options: ModelOptions) -> tuple[str, ...]:
    """The names that rows may ask for: those of --served-model-name, else the demo's, the folder's
    name, or the hub id (whole, and without its owner).
    """
    if options.served_model_name:
        return tuple(dict.fromkeys(options.served_model_name))
    if options.model == _DEMO:
        return (_DEMO,)
    folder = Path(options.model).expanduser()
    if folder.is_dir():
        return (folder.resolve().name,)
    return tuple(dict.fromkeys((options.model, options.model.rpartition("/")[2])))


def new_consumer_name() -> str:
    """host-pid-random: new for every process start, never used again."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:64] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
