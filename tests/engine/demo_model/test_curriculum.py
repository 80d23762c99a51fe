"""What is taught when."""

from engine.demo_model.training.curriculum import lesson


def test_copying_comes_before_choosing_and_conversations_last() -> None:
    first, middle, last = lesson(0.0), lesson(0.5), lesson(1.0)
    assert first.pairs > 0
    assert first.choices == 0
    assert middle.choices > middle.pairs > 0
    assert first.exercise_share >= middle.exercise_share > last.exercise_share > 0
    assert min(last.pairs, last.choices, last.repeats, last.drill_share) > 0


def test_descriptions_get_harder() -> None:
    fillers = [lesson(0.3 + 0.05 * step).most_fillers for step in range(7)]
    assert fillers == sorted(fillers)
    assert fillers[0] < fillers[-1] <= lesson(1.0).most_fillers
