import pytest

from tests.schemas.bodies import assert_refused, chat

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "14 temperature 2.1": (
        chat(temperature=2.1),
        "decimal_above_max_value",
        "temperature",
        [
            "Invalid 'temperature': decimal above maximum value. "
            "Expected a value <= 2, but got 2.1 instead."
        ],
    ),
    "14 temperature 99": (
        chat(temperature=99),
        "decimal_above_max_value",
        "temperature",
        ["Expected a value <= 2, but got 99 instead."],
    ),
    "14 temperature -0.1": (
        chat(temperature=-0.1),
        "decimal_below_min_value",
        "temperature",
        ["Expected a value >= 0, but got -0.1 instead."],
    ),
    "14 temperature of 400 digits": (
        chat(temperature=10**399),
        "decimal_above_max_value",
        "temperature",
        ["about 10^399"],
    ),
    "3 temperature NaN": (
        chat(temperature=float("nan")),
        "invalid_value",
        "temperature",
        ["finite", "nan"],
    ),
    "3 temperature inf": (chat(temperature=float("inf")), "invalid_value", "temperature", []),
    "15 temperature hot": (
        chat(temperature="hot"),
        "invalid_type",
        "temperature",
        ["Invalid type for 'temperature': expected a decimal, but got a string instead."],
    ),
    "15 temperature '1'": (chat(temperature="1"), "invalid_type", "temperature", []),
    "15 temperature true": (chat(temperature=True), "invalid_type", "temperature", ["a boolean"]),
    "16 top_p 1.5": (chat(top_p=1.5), "decimal_above_max_value", "top_p", ["1.5"]),
    "16 top_p -0.5": (chat(top_p=-0.5), "decimal_below_min_value", "top_p", ["-0.5"]),
    "17 max_completion_tokens 0": (
        chat(max_completion_tokens=0),
        "integer_below_min_value",
        "max_completion_tokens",
        [
            "Invalid 'max_completion_tokens': integer below minimum value. "
            "Expected a value >= 1, but got 0 instead."
        ],
    ),
    "18 max_tokens -5": (chat(max_tokens=-5), "integer_below_min_value", "max_tokens", ["-5"]),
    "18 max_tokens 0": (chat(max_tokens=0), "integer_below_min_value", "max_tokens", ["0"]),
    "19 max_tokens many": (chat(max_tokens="many"), "invalid_type", "max_tokens", ["a string"]),
    "19 max_tokens 3.5": (
        chat(max_tokens=3.5),
        "invalid_type",
        "max_tokens",
        ["expected an integer, but got a decimal number instead"],
    ),
    "19 max_tokens 1.0": (chat(max_tokens=1.0), "invalid_type", "max_tokens", []),
    "19 max_tokens true": (chat(max_tokens=True), "invalid_type", "max_tokens", ["a boolean"]),
    "23 n 0": (
        chat(n=0),
        "integer_below_min_value",
        "n",
        ["Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."],
    ),
    "23 n 129": (chat(n=129), "integer_above_max_value", "n", ["<= 128, but got 129"]),
    "23 n '2'": (
        chat(n="2"),
        "invalid_type",
        "n",
        ["Invalid type for 'n': expected an integer, but got a string instead."],
    ),
    "23 n huge": (chat(n=10**4_000), "integer_above_max_value", "n", ["about 10^4000"]),
    "23 n beyond Python's text": (chat(n=10**5_000), "integer_above_max_value", "n", []),
    "24 presence 3": (
        chat(presence_penalty=3),
        "decimal_above_max_value",
        "presence_penalty",
        ["<= 2, but got 3"],
    ),
    "24 frequency -3": (
        chat(frequency_penalty=-3),
        "decimal_below_min_value",
        "frequency_penalty",
        [">= -2, but got -3"],
    ),
    "25 five stops": (
        chat(stop=["a"] * 5),
        "array_above_max_length",
        "stop",
        ["maximum length 4, but got an array with length 5"],
    ),
    "25 stop number": (chat(stop=5), "invalid_type", "stop", ["one of a string or array"]),
    "25 number in stop": (chat(stop=["a", 5]), "invalid_type", "stop[1]", ["an integer"]),
    "25 no stops": (chat(stop=[]), "empty_array", "stop", []),
    "26 empty stop": (chat(stop=""), "empty_string", "stop", ["empty string"]),
    "26 empty stop in list": (chat(stop=["a", ""]), "empty_string", "stop[1]", []),
    "27 logit_bias key": (
        chat(logit_bias={"x": 1}),
        "invalid_value",
        "logit_bias",
        ["property name in 'logit_bias'", "'x'"],
    ),
    "27 logit_bias negative key": (chat(logit_bias={"-1": 1}), "invalid_value", "logit_bias", []),
    "27 logit_bias other digits": (chat(logit_bias={"٣": 1}), "invalid_value", "logit_bias", []),
    "27 logit_bias value": (
        chat(logit_bias={"50256": "big"}),
        "invalid_type",
        "logit_bias.50256",
        ["expected a decimal, but got a string instead"],
    ),
    "27 logit_bias 101": (
        chat(logit_bias={"5": 101}),
        "decimal_above_max_value",
        "logit_bias.5",
        ["<= 100, but got 101"],
    ),
    "27 logit_bias list": (chat(logit_bias=[]), "invalid_type", "logit_bias", ["an object"]),
    "29 top_logprobs -1": (
        chat(logprobs=True, top_logprobs=-1),
        "integer_below_min_value",
        "top_logprobs",
        ["-1"],
    ),
    "30 seed 1.5": (
        chat(seed=1.5),
        "invalid_type",
        "seed",
        ["Invalid type for 'seed': expected an integer, but got a decimal number instead."],
    ),
    "30 seed 2^63": (chat(seed=2**63), "integer_above_max_value", "seed", [str(2**63)]),
    "30 seed -2^63-1": (chat(seed=-(2**63) - 1), "integer_below_min_value", "seed", []),
    "31 stream maybe": (chat(stream="maybe"), "invalid_type", "stream", ["a boolean"]),
    "31 stream 'true'": (chat(stream="true"), "invalid_type", "stream", []),
    "31 stream 1": (chat(stream=1), "invalid_type", "stream", ["an integer"]),
    "46 reasoning_effort": (
        chat(reasoning_effort="huge"),
        "unsupported_value",
        "reasoning_effort",
        ["'reasoning_effort' does not support 'huge'", "'none', 'minimal', 'low'"],
    ),
    "46 reasoning_effort 3": (chat(reasoning_effort=3), "invalid_type", "reasoning_effort", []),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)
