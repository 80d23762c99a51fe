import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.bitmap import Bitmap


@given(st.lists(st.integers(0, 3000), max_size=200), st.integers(0, 3100))
def test_behaves_like_a_set_of_integers(indexes: list[int], total: int) -> None:
    bitmap, model = Bitmap(), set()
    for index in indexes:
        assert bitmap.add(index) is (index not in model)
        model.add(index)
    assert len(bitmap) == len(model)
    assert list(bitmap) == sorted(model)
    assert list(bitmap.missing(total)) == [i for i in range(total) if i not in model]
    assert all((i in bitmap) == (i in model) for i in range(3100))


def test_an_empty_set_lacks_everything() -> None:
    assert list(Bitmap().missing(9)) == list(range(9))
    assert 0 not in Bitmap()


@pytest.mark.parametrize("index", [-1, 1 << 32, 1 << 60])
def test_an_index_that_no_line_has_is_refused_before_it_claims_memory(index: int) -> None:
    assert not Bitmap.can_hold(index)
    assert index not in Bitmap([3])
    with pytest.raises(ValueError, match="line index"):
        Bitmap().add(index)


def test_a_million_lines_take_about_a_bit_each() -> None:
    bitmap = Bitmap(range(1_000_000))
    assert len(bitmap) == 1_000_000
    assert len(bitmap._bits) < 200_000
