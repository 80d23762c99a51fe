"""The flags that make a run's input a table.

Owns: these flags, and what they mean together. Must not know: how tables are read.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from worker.errors import SettingsError
from worker.option_groups import setting

__all__ = ["TableOptions", "TableSettings", "table_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """How rows become requests, and which columns come out."""

    prompt_column: Annotated[
        str | None,
        setting(
            "--prompt-column",
            "FILE is a table (Parquet, CSV, JSONL, Arrow, a folder, a URL); its column of prompts.",
            shown_default="FILE has requests",
        ),
    ] = None
    template: Annotated[
        Path | None,
        setting(
            "--template",
            "Jinja file that makes the prompt of a row of its columns (and of 'prompt').",
            shown_default="the prompt column as it is",
        ),
    ] = None
    system: Annotated[
        str | None, setting("--system", "System message of every row.", shown_default="none")
    ] = None
    schema: Annotated[
        Path | None,
        setting(
            "--schema",
            "JSON schema that every answer has; it comes out as a typed column.",
            shown_default="any text",
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        setting(
            "--max-tokens", "Output tokens of a row, at most.", shown_default="the context", min=1
        ),
    ] = None
    temperature: Annotated[
        float | None,
        setting("--temperature", "Of every row; 0 is greedy.", shown_default="the model's", min=0),
    ] = None
    extra_body: Annotated[
        str | None,
        setting(
            "--extra-body",
            "JSON object with more parameters of every request, such as '{\"top_p\": 0.9}'.",
            shown_default="none",
        ),
    ] = None
    columns: Annotated[
        str | None,
        setting(
            "--columns",
            "Input columns to keep, with commas between them; '' keeps none.",
            shown_default="all",
        ),
    ] = None
    result_prefix: Annotated[
        str,
        setting(
            "--result-prefix",
            "What the names of the answers' columns begin with.",
            shown_default="nothing",
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class TableSettings:
    """A table as the input of a run. `location` is a path or URL, as it was typed."""

    location: str
    options: TableOptions

    @property
    def kept(self) -> list[str] | None:
        """The columns to keep; None: all."""
        names = self.options.columns
        return None if names is None else [name.strip() for name in names.split(",") if name]

    @property
    def parameters(self) -> dict[str, Any]:
        """What each request has besides its messages. Raises SettingsError."""
        options = self.options
        parameters: dict[str, Any] = {}
        if options.extra_body is not None:
            try:
                parameters = json.loads(options.extra_body)
            except ValueError as error:
                raise SettingsError(f"--extra-body is not JSON: {error}") from error
            if not isinstance(parameters, dict):
                raise SettingsError(f"--extra-body {options.extra_body!r} is not a JSON object")
        for name in ("max_tokens", "temperature"):
            if (value := getattr(options, name)) is not None:
                parameters[name] = value
        return parameters


def table_settings(location: str, options: TableOptions) -> TableSettings | None:
    """None if the input is a file of requests. Raises SettingsError if the flags say one thing and
    the input's name the other.
    """
    if options.prompt_column is not None or options.template is not None:
        return TableSettings(location, options)
    if not location:
        raise SettingsError("FILE is empty: give the name of the input")
    from jobs.tables.places import is_table_name

    if is_table_name(location):
        kind = "folder" if Path(location).is_dir() else "table"
        raise SettingsError(
            f"{location} is a {kind}, not a file of requests: name the column of its prompts with "
            "--prompt-column, or give a --template"
        )
    defaults = asdict(TableOptions())
    given = [name for name, value in asdict(options).items() if value != defaults[name]]
    if given:
        flag = "--" + given[0].replace("_", "-")
        raise SettingsError(f"{flag} is for tables: give --prompt-column or --template as well")
    return None
