from jobs.online.messages import Accepted, Done, Piece, Step, decode_message


def test_messages_survive_their_encoding() -> None:
    step = Step(
        attempt=2,
        number=7,
        pieces=(
            Piece(index=0, content="é\n\u2028", reasoning="r"),
            Piece(index=1, calls=({"id": "c"},), logprobs=({"token": "x"},)),
        ),
    )
    head = Accepted(id="chatcmpl-1", created=5, model="org/m", fingerprint="fp")
    assert decode_message(step.encode()) == step
    assert decode_message(head.encode()) == head
    assert decode_message(b"d17-0") == Done("17-0")


def test_a_message_of_another_version_is_passed_over() -> None:
    assert decode_message(b"?new") is None
    assert decode_message(b"") is None
