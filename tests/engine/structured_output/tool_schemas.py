"""Tools with parameters of the shapes that people write, drawn from a seed.

A bounded tool has finitely many arguments, none very long: its strings, numbers, lists and maps all
have an end. Any other may go on for ever, as most real ones may.
"""

import random
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ToolMaker", "make_tools"]

Schema = dict[str, Any]

_NAMES = (
    *("city", "query", "limit", "start_date", "endDate", "user-id", "tags", "filters", "options"),
    *(
        "größe",
        "都市",
        "имя",
        "naïve café",
        "emoji 😀",
        "a.b",
        "x/y",
        "with space",
        "type",
        "format",
    ),
    *("items", "properties", "$value", "UPPER", "n1", "id", "name", "arguments", "required"),
)
_WORDS = (
    *("celsius", "fahrenheit", "ascending", "low", "medium", "high", "", "a b", "é", "Straße"),
    *("東京", "🙂", 'quote"d', "back\\slash", "tab\tbed", "new\nline", "</tool_call>", "{}", "0"),
)
_PATTERNS = (
    r"^[A-Z]{2}-\d{4}$",
    r"^(red|green|blue)$",
    r"^\d{3}-\d{2}-\d{4}$",
    r"^[a-z0-9_]{3,16}$",
    r"^#[0-9a-fA-F]{6}$",
    r"^(?:[01]\d|2[0-3]):[0-5]\d$",
    r"^v\d{1,2}\.\d{1,2}$",
    r"^[äöü]{1,3}$",
)
_OPEN_PATTERNS = (r"^[A-Z].*", r"\d+", r"^https?://", r"^\w+@\w+$")
_FORMATS = ("date", "uuid", "ipv4")
_OPEN_FORMATS = ("date-time", "email", "time", "uri", "hostname", "ipv6", "duration")
_FOREIGN_FORMATS = ("int32", "password", "color")


@dataclass
class ToolMaker:
    """Draws one tool. `definitions` collects what its schemas refer to."""

    draw: random.Random
    is_bounded: bool
    definitions: dict[str, Schema] = field(default_factory=dict)

    def tool(self, name: str) -> dict[str, Any]:
        parameters = self.object(depth=0)
        if self.definitions:
            parameters["$defs"] = self.definitions
        function: dict[str, Any] = {"name": name, "parameters": parameters}
        if self.draw.random() < 0.5:
            function["description"] = "Does what its name says."
        if self.is_bounded:
            function["strict"] = True
        return {"type": "function", "function": function}

    def object(self, depth: int) -> Schema:
        names = self.draw.sample(_NAMES, self.draw.randint(0 if depth else 1, 4))
        schema: Schema = {
            "type": "object",
            "properties": {name: self.value(depth + 1) for name in names},
        }
        required = [name for name in names if self.draw.random() < 0.7]
        if required or self.draw.random() < 0.5:
            schema["required"] = required
        if self.is_bounded or self.draw.random() < 0.6:
            schema["additionalProperties"] = False
        if self.draw.random() < 0.2:
            schema |= {"title": "A title", "description": "Some words."}
        return schema

    def value(self, depth: int) -> Schema:
        kinds = [self.string, self.number, self.choice, self.constant, self.flag, self.nullable]
        if depth < 3:
            nested = [self.array, self.union, self.reference, self.tuple, self.map, self.merged]
            kinds += [*nested, self.nested, self.nested]
        return self.draw.choice(kinds)(depth)

    def nested(self, depth: int) -> Schema:
        return self.object(depth)

    def string(self, depth: int) -> Schema:
        kind = self.draw.randrange(4)
        if kind == 0:
            open_patterns = () if self.is_bounded else _OPEN_PATTERNS
            return {"type": "string", "pattern": self.draw.choice(_PATTERNS + open_patterns)}
        if kind == 1:
            formats = _FORMATS if self.is_bounded else _FORMATS + _OPEN_FORMATS
            return {"type": "string", "format": self.draw.choice(formats)}
        low = self.draw.choice([0, 0, 1, 3])
        if self.is_bounded or kind == 2:
            return {"type": "string", "minLength": low, "maxLength": low + self.draw.randint(1, 20)}
        if self.draw.random() < 0.3:
            return {"type": "string", "format": self.draw.choice(_FOREIGN_FORMATS)}
        return {"type": "string", "description": "Free text."}

    def number(self, depth: int) -> Schema:
        low = self.draw.choice([-1000, -1, 0, 1, 20])
        high = low + self.draw.choice([0, 1, 9, 100, 5000])
        if self.is_bounded:
            return {"type": "integer", "minimum": low, "maximum": high}
        return self.draw.choice(
            [
                {"type": "integer"},
                {"type": "number"},
                {"type": "integer", "minimum": low},
                {"type": "number", "minimum": low, "maximum": high + 1},
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "integer", "multipleOf": 5},
            ]
        )

    def choice(self, depth: int) -> Schema:
        values: list[Any] = self.draw.sample(_WORDS, self.draw.randint(1, 5))
        if self.draw.random() < 0.3:
            values += [None, 3, 2.5, True, {"a": ["b"]}]
            return {"enum": values}
        return {"type": "string", "enum": values}

    def constant(self, depth: int) -> Schema:
        return {"const": self.draw.choice([*_WORDS, 7, -1.5, None, False, [1, "x"], {"k": "v"}])}

    def flag(self, depth: int) -> Schema:
        return {"type": "boolean", "default": False}

    def nullable(self, depth: int) -> Schema:
        if self.draw.random() < 0.5:
            return {"anyOf": [self.string(depth), {"type": "null"}], "default": None}
        return {"type": ["boolean", "null"]}

    def array(self, depth: int) -> Schema:
        low = self.draw.choice([0, 0, 1, 2])
        schema: Schema = {"type": "array", "items": self.value(depth + 1)}
        if low:
            schema["minItems"] = low
        if self.is_bounded or self.draw.random() < 0.5:
            schema["maxItems"] = low + self.draw.randint(0, 2)
        return schema

    def tuple(self, depth: int) -> Schema:
        items = [self.value(depth + 1) for _ in range(self.draw.randint(1, 3))]
        return {
            "type": "array",
            "prefixItems": items,
            "items": False,
            "minItems": len(items),
        }

    def union(self, depth: int) -> Schema:
        """Objects told apart by a constant, as discriminated unions are written."""
        branches = []
        for kind in self.draw.sample(("circle", "square", "line"), 2):
            branch = self.object(depth + 1)
            branch["properties"] = {"kind": {"const": kind}, **branch["properties"]}
            branch["required"] = ["kind", *branch.get("required", [])]
            branches.append(branch)
        return {"anyOf": branches}

    def reference(self, depth: int) -> Schema:
        """A definition of its own, or one that refers to itself."""
        name = f"Definition {len(self.definitions)}"
        pointer = f"#/$defs/{name}"
        self.definitions[name] = {}
        if self.is_bounded or self.draw.random() < 0.6:
            self.definitions[name] |= self.object(depth + 1)
        else:
            self.definitions[name] |= {
                "type": "object",
                "properties": {
                    "value": self.string(depth),
                    "children": {"type": "array", "items": {"$ref": pointer}, "maxItems": 2},
                },
                "required": ["value"],
                "additionalProperties": False,
            }
        return {"$ref": pointer}

    def map(self, depth: int) -> Schema:
        if self.is_bounded:
            return {
                "type": "object",
                "patternProperties": {"^[a-z]{1,5}$": self.value(depth + 1)},
                "additionalProperties": False,
                "maxProperties": 2,
            }
        return {"type": "object", "additionalProperties": self.value(depth + 1)}

    def merged(self, depth: int) -> Schema:
        low = self.draw.randint(0, 50)
        parts = [{"type": "integer"}, {"minimum": low}, {"maximum": low + 60}]
        return {"allOf": parts[: self.draw.randint(2, 3)] if not self.is_bounded else parts}


def make_tools(count: int, *, seed: int = 0) -> list[tuple[list[dict[str, Any]], bool]]:
    """`count` lists of tools, each with whether they are bounded; every second one is. Some have
    further tools whose names begin alike.
    """
    draw = random.Random(seed)
    result = []
    for number in range(count):
        is_bounded = number % 2 == 0
        names = [f"tool_{number}"]
        if draw.random() < 0.3:
            names += [f"tool_{number}_more", f"tool-{number}"]
        result.append(([ToolMaker(draw, is_bounded).tool(name) for name in names], is_bounded))
    return result
