from pathlib import Path

from worker.names import new_consumer_name, served_names
from worker.options import ModelOptions


def test_given_names_win() -> None:
    assert served_names(ModelOptions(served_model_name=["a", "b", "a"])) == ("a", "b")


def test_the_demo_model_is_called_demo() -> None:
    assert served_names(ModelOptions()) == ("demo",)


def test_a_folder_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "Qwen3-0.6B").mkdir()
    assert served_names(ModelOptions(model=f"{tmp_path}/Qwen3-0.6B/")) == ("Qwen3-0.6B",)


def test_a_hub_id_is_known_with_and_without_its_owner() -> None:
    assert served_names(ModelOptions(model="Qwen/Qwen3-0.6B")) == ("Qwen/Qwen3-0.6B", "Qwen3-0.6B")
    assert served_names(ModelOptions(model="gpt2")) == ("gpt2",)


def test_consumer_names_are_never_used_twice() -> None:
    names = {new_consumer_name() for _ in range(100)}
    assert len(names) == 100
    assert not any(character in name for name in names for character in ": \n")
