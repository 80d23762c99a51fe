import pytest

from tests.schemas.bodies import assert_refused, chat

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "33 unknown stream option": (
        chat(stream=True, stream_options={"bogus": 1}),
        "unknown_parameter",
        "stream_options.bogus",
        ["Unknown parameter: 'stream_options.bogus'."],
    ),
    "45 metadata of 17": (
        chat(metadata={str(i): "" for i in range(17)}),
        "object_above_max_properties",
        "metadata",
        ["at most 16 properties", "17 properties"],
    ),
    "45 metadata long value": (
        chat(metadata={"k": "x" * 600}),
        "string_above_max_length",
        "metadata.k",
        [
            "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, "
            "but got a string with length 600 instead."
        ],
    ),
    "45 metadata long key": (
        chat(metadata={"k" * 70: "x"}),
        "property_name_above_max_length",
        "metadata",
        ["maximum length 64", "length 70"],
    ),
    "45 metadata number": (chat(metadata={"k": 1}), "invalid_type", "metadata.k", ["a string"]),
    "45 metadata list": (
        chat(metadata={"tags": ["a"]}),
        "invalid_type",
        "metadata.tags",
        ["expected a string, but got an array instead."],
    ),
    "45 metadata text": (chat(metadata="x"), "invalid_type", "metadata", []),
    "prediction without content": (
        chat(prediction={"type": "content"}),
        "missing_required_parameter",
        "prediction.content",
        [],
    ),
    "prediction of images": (
        chat(prediction={"type": "content", "content": [{"type": "image_url"}]}),
        "invalid_value",
        "prediction.content[0].type",
        [],
    ),
    "unknown moderation mode": (
        chat(moderation={"model": "m", "policy": {"input": {"mode": "x"}}}),
        "invalid_value",
        "moderation.policy.input.mode",
        [],
    ),
    "modality": (chat(modalities=["smell"]), "invalid_value", "modalities[0]", ["'smell'"]),
    "audio format": (
        chat(audio={"voice": "v", "format": "midi"}),
        "invalid_value",
        "audio.format",
        ["'midi'"],
    ),
    "voice": (
        chat(audio={"voice": 1, "format": "wav"}),
        "invalid_type",
        "audio.voice",
        ["string or object"],
    ),
    "46 service_tier": (
        chat(service_tier="gold"),
        "invalid_value",
        "service_tier",
        ["'gold'", "'auto', 'default', 'flex', 'scale', 'priority', and 'fast'"],
    ),
    "46 verbosity": (chat(verbosity="loud"), "invalid_value", "verbosity", ["'loud'"]),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)
