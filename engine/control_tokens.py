"""Special tokens that stand in somebody's text, kept apart from those that a template writes.

A message that contains "<|im_end|>" must not end the message. Before a template is rendered, each
special token in the callers' strings is wrapped in two private-use characters (`mark`). Wrapping
leaves the token whole, so templates that look for text inside a message still find it. After
rendering, `split` tells the marked ones from the template's own.

Limits: a template that builds a special token from pieces of a message (its role, say) is not seen
through; and added tokens that the checkpoint does not call special, such as Qwen's <tool_call>,
stay tokens wherever they stand, as in every other engine.

Owns: the marks. Must not know: tokenizers, templates. transformers 5.23 has the same idea in
`apply_chat_template(sanitize_control_tokens=True)`, for its own tokenizing only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["ControlTokens", "MarkedText"]

_START = "\U000f0000"
_END = "\U000f0001"
_NEUTRAL = "\U000f0002"


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A rendered text without marks. `masked` has the same length; in it, every special token that
    is only text is made unrecognisable.
    """

    text: str
    masked: str

    @property
    def has_literals(self) -> bool:
        return self.text != self.masked


class ControlTokens:
    """Marks the special tokens it was given."""

    def __init__(self, tokens: Iterable[str]) -> None:
        longest_first = sorted(filter(None, tokens), key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first)) or r"(?!)"
        self._token = re.compile(pattern)
        self._unsafe = re.compile(f"{pattern}|[{_START}{_END}]")
        self._marked = re.compile(f"{_START}({pattern}){_END}|[{_START}{_END}]")

    def mark(self, value: Any) -> Any:
        """`value` with the special tokens in its strings marked; lists and mappings are copied only
        if something in them changes. Keys are left alone: they are not free text.
        """
        if isinstance(value, str):
            return self._mark_text(value) if self._unsafe.search(value) else value
        if isinstance(value, dict):
            marked = {key: self.mark(item) for key, item in value.items()}
            return marked if any(marked[key] is not value[key] for key in value) else value
        if isinstance(value, list):
            items = [self.mark(item) for item in value]
            return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
        return value

    def split(self, rendered: str) -> MarkedText:
        """The rendered text without its marks."""
        if _START not in rendered and _END not in rendered:
            return MarkedText(rendered, rendered)
        text: list[str] = []
        masked: list[str] = []
        seams: list[int] = []
        length = position = 0
        for match in self._marked.finditer(rendered):
            before, token = rendered[position : match.start()], match.group(1) or ""
            position = match.end()
            text += (before, token)
            masked += (before, _NEUTRAL * len(token))
            length += len(before) + len(token)
            if not token:  # a template took the token apart: what is left must not join up
                seams.append(length)
        rest = rendered[position:]
        return MarkedText("".join([*text, rest]), self._mask_seams("".join([*masked, rest]), seams))

    def _mark_text(self, text: str) -> str:
        # Private-use marks that are in the text already could forge ours; they carry no meaning.
        plain = text.replace(_START, "").replace(_END, "")
        return self._token.sub(f"{_START}\\g<0>{_END}", plain)

    def _mask_seams(self, masked: str, seams: list[int]) -> str:
        """Make tokens unrecognisable that came about where a mark was taken out."""
        for seam in seams:
            for match in self._token.finditer(masked):
                if match.start() < seam < match.end():
                    start, stop = match.span()
                    masked = masked[:start] + _NEUTRAL * (stop - start) + masked[stop:]
                    break
        return masked
