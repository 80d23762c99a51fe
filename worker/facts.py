"""What a run writes down about itself.

Owns: the settings and versions in run.json. Must not know: the file.
"""

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from worker.logging import redact_url
from worker.settings import ServiceSettings

__all__ = ["settings_facts", "version_facts"]

_PACKAGES = ("headrace", "torch", "transformers", "tokenizers", "pyarrow", "redis")


def settings_facts(settings: ServiceSettings) -> dict[str, Any]:
    """Every setting by name, as JSON values, without passwords."""
    merged: dict[str, Any] = {}
    for group in (settings.model, settings.engine, settings.queue, settings.service):
        merged |= asdict(group)
    if merged["redis"] is not None:
        merged["redis"] = redact_url(merged["redis"])
    if merged["chat_template"] is not None:
        merged["chat_template"] = str(merged["chat_template"])
    return merged


def version_facts() -> dict[str, str]:
    """The versions of what has a part in the rows; packages that are not installed are left out."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
