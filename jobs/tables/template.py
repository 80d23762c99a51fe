"""Prompts from the cells of a row, by a Jinja template.

Owns: how the template is compiled, which columns it needs, its errors in our words. Must not know:
where rows come from, requests. The template runs in Jinja's sandbox: it reads cells, and nothing
else.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jobs.errors import TableSettingError
from schemas.errors import ApiError

__all__ = ["PROMPT", "ROW", "RowTemplate"]

PROMPT = "prompt"
"""What a template calls the cell of the prompt column."""

ROW = "row"
"""What a template calls the whole row; for columns whose names are no identifiers."""


class RowTemplate:
    """One compiled template. Columns are variables of their own names; `row` is all of them.

    A column that is called `prompt` or `row` goes before what the names mean otherwise.
    """

    def __init__(self, text: str, *, name: str = "template") -> None:
        """Raises TableSettingError, with the line, if `text` is no template."""
        environment = _environment()
        try:
            tree = environment.parse(text)
            self._names = meta.find_undeclared_variables(tree)
            self._template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise TableSettingError(f"{name}, line {error.lineno}: {error.message}") from error
        except TemplateError as error:
            raise TableSettingError(f"{name}: {error}") from error
        self._guarded = set(_guarded_names(tree))
        self.text = text
        self.name = name

    @classmethod
    def read(cls, path: Path) -> "RowTemplate":
        """The template in a file. Raises TableSettingError."""
        try:
            return cls(path.read_text(encoding="utf-8-sig"), name=str(path))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise TableSettingError(f"{path} cannot be read: {reason}") from error
        except UnicodeDecodeError as error:
            raise TableSettingError(f"{path} is not UTF-8 text") from error

    def columns(self, names: Collection[str]) -> list[str]:
        """Which of the columns `names` the template needs, in their order.

        Raises TableSettingError for a variable that no column explains, unless the template asks
        whether it is defined.
        """
        unknown = self._names - set(names) - self._guarded - {PROMPT, ROW}
        if unknown:
            raise TableSettingError(
                f"{self.name} uses {sorted(unknown)[0]!r}, which is no column; "
                f"there are {', '.join(map(repr, names)) or 'none'}"
            )
        is_all = ROW in self._names and ROW not in names
        return [name for name in names if is_all or name in self._names]

    def render(self, cells: Mapping[str, Any], *, prompt: str | None = None) -> str:
        """The text for one row. Raises ApiError (400) whatever goes wrong in the template."""
        variables = {PROMPT: prompt} if prompt is not None else {}
        try:
            return self._template.render({**variables, ROW: cells, **cells})
        except Exception as error:  # a template may do anything to its values
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ApiError(
                400, f"The template cannot be rendered: {reason}", code="template_error"
            ) from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # prompts are no HTML
        finalize=lambda value: "" if value is None else value,
        extensions=["jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _to_json  # Jinja's own escapes <, > and & for HTML
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _guarded_names(tree: nodes.Template) -> Iterator[str]:
    """Variables that the template asks about before it uses them."""
    for test in tree.find_all(nodes.Test):
        if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Name):
            yield test.node.name
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in ("default", "d") and isinstance(filtered.node, nodes.Name):
            yield filtered.node.name
