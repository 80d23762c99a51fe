"""The settings of `headrace serve` and `headrace control`.

Owns: their option groups. Must not know: what the commands do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from worker.access_options import AccessOptions
from worker.errors import SettingsError
from worker.option_groups import setting
from worker.options import QueueOptions, UnknownParameterPolicy, byte_size

__all__ = [
    "ControlCommand",
    "ControlOptions",
    "HttpOptions",
    "ServeCommand",
    "max_file_bytes",
    "windows_of",
]

_WINDOW = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlOptions:
    """Where files lie, and what a batch may be."""

    data: Annotated[
        Path,
        setting(
            "--data",
            "Folder of unfinished batches, shared by all control planes of a namespace.",
        ),
    ] = Path("headrace-data")
    blobs: Annotated[
        str | None,
        setting(
            "--blobs",
            "Where files lie: a folder, or an URL such as s3://bucket/prefix or gs://bucket.",
            shown_default="blobs/ in the data folder",
        ),
    ] = None
    served_model_name: Annotated[
        list[str] | None,
        setting(
            "--served-model-name",
            "Name that batches may ask for before any worker serves it; repeat for several.",
            shown_default="what workers serve or served",
        ),
    ] = None
    max_batch_requests: Annotated[
        int, setting("--max-batch-requests", "Requests in one input file, at most.", min=1)
    ] = 50_000
    on_unknown_parameter: UnknownParameterPolicy = "refuse"
    allow_mixed_models: Annotated[
        bool,
        setting(
            "--allow-mixed-models",
            "Let one input file name several models.",
            shown_default="off",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """The endpoint itself."""

    host: Annotated[str, setting("--host", "Address that the endpoint listens on.")] = "127.0.0.1"
    port: Annotated[
        int,
        setting("--port", "Its port; 0 picks a free one and logs it.", min=0, max=65535),
    ] = 8000
    max_batch_file_size: Annotated[
        str,
        setting("--max-batch-file-size", "Size of an input file, at most (bytes, or 200MiB)."),
    ] = "200MiB"
    completion_window: Annotated[
        list[str] | None,
        setting(
            "--completion-window",
            "A completion window on offer, such as 24h; repeat for several.",
            shown_default="24h",
        ),
    ] = None
    drain_seconds: Annotated[
        float,
        setting(
            "--drain-seconds", "Seconds that running requests get to end after SIGTERM.", min=0.0
        ),
    ] = 30.0
    in_process_control: Annotated[
        bool,
        setting(
            "--in-process-control/--no-in-process-control",
            "Run the control plane here too; without it, run 'headrace control' somewhere.",
        ),
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeCommand:
    """Everything that `headrace serve` is told."""

    http: HttpOptions
    control: ControlOptions
    access: AccessOptions
    queue: QueueOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCommand:
    """Everything that `headrace control` is told. `metrics_port` None: no port."""

    control: ControlOptions
    queue: QueueOptions
    host: str
    metrics_port: int | None


def windows_of(names: list[str] | None) -> Mapping[str, int]:
    """Completion windows in seconds by name. Raises SettingsError."""
    windows: dict[str, int] = {}
    for name in names or ["24h"]:
        match = _WINDOW.fullmatch(name)
        if match is None:
            raise SettingsError(f"--completion-window {name!r}: write 24h, 30m, 45s or 7d")
        windows[name] = int(match[1]) * _UNIT_S[match[2]]
    return windows


def max_file_bytes(text: str) -> int:
    """--max-batch-file-size in bytes. Raises SettingsError."""
    try:
        return byte_size(text)
    except ValueError as error:
        raise SettingsError(f"--max-batch-file-size: {error}") from error
