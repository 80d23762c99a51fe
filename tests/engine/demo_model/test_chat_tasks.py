"""Short training chats: answers follow the rules that system prompts set."""

import re
from random import Random

from engine.demo_model.training import chat_tasks


def _ruled(count: int) -> list[tuple[str, str]]:
    """System prompts and answers."""
    rng = Random(13)
    examples = (chat_tasks.chat(rng) for _ in range(count))
    return [
        (example.messages[0]["content"], example.answer["content"])
        for example in examples
        if example.messages[0]["role"] == "system"
    ]


def _begins(rule: str, verbs: tuple[str, ...]) -> bool:
    return re.match(rf"({'|'.join(verbs)}) .*\b(with|by)\b", rule) is not None


def test_a_mark_stands_where_the_rule_says() -> None:
    first = last = 0
    for rule, answer in _ruled(2000):
        marks = set(rule.lower().replace(".", "").split())
        starts = _begins(rule, chat_tasks._START_VERBS)
        if not starts and not _begins(rule, chat_tasks._FINISH_VERBS):
            continue
        first += starts
        last += not starts
        assert answer.split()[0 if starts else -1].lower() in marks, (rule, answer)
    assert min(first, last) > 50


def test_no_slot_is_left_open() -> None:
    rng = Random(14)
    for _ in range(1000):
        example = chat_tasks.chat(rng)
        for message in (*example.messages, example.answer):
            text = message["content"]
            assert not any(
                slot in text for slot in ("{m}", "{n}", "{f}", "{k}", "{o}", "{r}", "{p}")
            )


def test_a_system_prompt_without_a_rule_changes_no_answer() -> None:
    rng = Random(15)
    seen = 0
    for _ in range(600):
        example = chat_tasks.chat(rng)
        asked = example.messages[-1]["content"]
        if example.messages[0]["role"] == "system" and asked.startswith(("Hello", "Hey", "Hi ")):
            seen += 1
            assert "How can I help you?" in example.answer["content"]
    assert seen > 5
