from pathlib import Path

import pytest

from jobs.errors import TableSettingError
from jobs.tables.template import RowTemplate
from schemas.errors import ApiError


def test_columns_are_variables_and_row_is_all_of_them() -> None:
    template = RowTemplate("{{ title }}: {{ row['sub title'] }} ({{ prompt }})")
    cells = {"title": "A", "sub title": "B"}
    assert template.render(cells, prompt="C") == "A: B (C)"


def test_it_says_which_columns_it_needs() -> None:
    names = ["a", "b", "c"]
    assert RowTemplate("{{ c }}{{ a }}").columns(names) == ["a", "c"]
    assert RowTemplate("{% for x in row %}{{ x }}{% endfor %}").columns(names) == names
    assert RowTemplate("always the same").columns(names) == []
    assert RowTemplate("{{ prompt }}").columns(names) == []


def test_columns_that_are_called_prompt_or_row_go_first() -> None:
    template = RowTemplate("{{ prompt }} {{ row }}")
    assert template.columns(["prompt", "row", "x"]) == ["prompt", "row"]
    assert template.render({"prompt": "p", "row": "r"}, prompt="other") == "p r"


def test_a_variable_without_a_column_is_refused_unless_it_is_asked_for() -> None:
    with pytest.raises(TableSettingError, match="uses 'titel', which is no column; there are 't'"):
        RowTemplate("{{ titel }}").columns(["t"])
    guarded = RowTemplate("{% if x is defined %}{{ x }}{% endif %}{{ y | default('-') }}")
    assert guarded.columns(["a"]) == []
    assert guarded.render({"a": 1}) == "-"


@pytest.mark.parametrize("text", ["{{ a", "{% if %}", "{% nothing %}", "{{ a | nofilter }}"])
def test_what_is_no_template_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(TableSettingError, match=r"row\.jinja, line 2"):
        RowTemplate("one\n" + text, name="row.jinja")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ n / 0 }}", "division by zero"),
        ("{{ n.missing.more }}", "missing"),
        ("{{ n | length }}", "len"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ row.update({}) }}", "is unsafe"),
    ],
)
def test_whatever_a_template_does_to_a_row_is_the_rows_error(text: str, reason: str) -> None:
    with pytest.raises(ApiError, match=reason) as caught:
        RowTemplate(text).render({"n": 1})
    assert (caught.value.status_code, caught.value.code) == (400, "template_error")


def test_tags_leave_no_lines_and_json_is_not_escaped() -> None:
    template = RowTemplate("{% for x in a %}\n- {{ x }}\n{% endfor %}\n{{ b | tojson }}\n")
    assert template.render({"a": [1, 2], "b": {"q": "<é>"}}) == '- 1\n- 2\n{"q": "<é>"}'


def test_a_null_cell_is_empty_text() -> None:
    assert RowTemplate("<{{ a }}{{ b or 'x' }}>").render({"a": None, "b": None}) == "<x>"


def test_a_byte_order_mark_is_no_text_of_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "x.jinja").write_bytes(b"\xef\xbb\xbfQ: {{ a }}\n")
    assert RowTemplate.read(tmp_path / "x.jinja").render({"a": 1}) == "Q: 1"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(TableSettingError, match=r"no\.jinja cannot be read: no such file"):
        RowTemplate.read(tmp_path / "no.jinja")
    (tmp_path / "bad.jinja").write_bytes(b"\xff")
    with pytest.raises(TableSettingError, match=r"bad\.jinja is not UTF-8 text"):
        RowTemplate.read(tmp_path / "bad.jinja")
