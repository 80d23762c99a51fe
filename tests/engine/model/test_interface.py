from transformers import AttentionInterface

from engine.model.interface import register_attention, unregister_attention


def test_each_function_gets_a_name_of_its_own_and_gives_it_back() -> None:
    def attend() -> None: ...

    interface = AttentionInterface()
    first, second = register_attention(attend), register_attention(attend)
    assert first != second
    assert interface.get_interface(first, None) is attend
    unregister_attention(first)
    assert first not in interface
    assert second in interface
    unregister_attention(second)
    unregister_attention(second)
    assert second not in interface


def test_names_have_no_meaning_to_transformers() -> None:
    """It looks for "flash", "paged|" and slashes (a hub repository) in these names."""
    name = register_attention(print)
    unregister_attention(name)
    assert name.replace("_", "").isalnum()
    assert "flash" not in name
    assert "sdpa" not in name
