"""Markdown tables."""

from jobs.evals.markdown import cell, table


def test_a_table_has_texts_and_numbers() -> None:
    assert table(("what", "n"), [("a", "1")]) == "| what | n |\n| --- | ---: |\n| a | 1 |\n"


def test_a_text_stays_in_its_cell() -> None:
    assert cell("a | b\nc <i>*x*</i>") == r"a \| b c \<i\>\*x\*\</i\>"
    assert len(cell("x" * 500)) == 160
