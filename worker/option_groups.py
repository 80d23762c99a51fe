"""Groups of command-line options as dataclasses.

Owns: how a dataclass of settings becomes flags, and flags become the dataclass again, so that
commands share groups and take one object each. Must not know: any particular setting.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, cast, get_type_hints

import typer

__all__ = ["setting", "with_groups"]


def setting(
    flag: str, help_text: str, *aliases: str, shown_default: str | None = None, **extra: Any
) -> Any:
    """A typer option named `flag` that is also read from HEADRACE_<FLAG>.

    `shown_default` replaces the default in --help where the value alone would say nothing.
    """
    name = flag.partition("/")[0].lstrip("-")
    return typer.Option(
        flag,
        *aliases,
        help=help_text,
        envvar="HEADRACE_" + name.replace("-", "_").upper(),
        show_envvar=True,
        show_default=shown_default if shown_default is not None else True,
        **extra,
    )


def with_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Show typer the fields of every dataclass parameter of `command` as options of their own."""
    hints = get_type_hints(command, include_extras=True)
    plain: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if dataclasses.is_dataclass(hint):
            groups[parameter.name] = cast(type, hint)
        else:
            plain.append(parameter.replace(annotation=hint))
    options = [option for group in groups.values() for option in _options_of(group)]

    @functools.wraps(command)
    def flat(**values: Any) -> int:
        built = {
            name: group(**{field.name: values.pop(field.name) for field in _fields(group)})
            for name, group in groups.items()
        }
        return command(**values, **built)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in [*plain, *options]
    ]
    flat.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _fields(group: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(group)


def _options_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=hints[field.name],
        )
        for field in _fields(group)
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty
