from engine.parsers.contract import ParsedTools, ToolCall
from engine.parsers.found import Found

CALL = ToolCall("f", "{}")


def test_without_calls_the_text_stays_as_it_came() -> None:
    found = Found()
    found.add_content(" a ")
    assert found.result(" a ") == ParsedTools(" a ")
    assert Found().result("") == ParsedTools(None)


def test_white_space_counts_in_front_only() -> None:
    found = Found()
    found.add_content("\n")
    found.add_content("a")
    found.calls.append(CALL)
    found.add_content("\n")
    found.calls.append(CALL)
    found.add_content(" b")
    assert found.result("?") == ParsedTools("\na b", (CALL, CALL))


def test_nothing_but_white_space_is_no_content() -> None:
    found = Found()
    found.add_content(" \n")
    found.calls.append(CALL)
    assert found.result("?") == ParsedTools(None, (CALL,))


def test_the_first_failure_is_told_and_all_are_kept() -> None:
    found = Found()
    found.add_failure("<x", "one")
    found.calls.append(CALL)
    found.add_failure("<y", "two")
    assert found.result("?") == ParsedTools("<x<y", (CALL,), "one")
