from schemas.errors import ApiError, BadLine, model_not_found, server_error, unreadable_body


def test_the_envelope_has_all_four_keys():
    error = ApiError(400, "no", param="n", code="invalid_type")
    assert error.body() == {
        "error": {
            "message": "no",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_type",
        }
    }
    assert error.status_code == 400
    assert str(error) == "no"


def test_absent_param_and_code_are_null():
    assert ApiError(429, "slow down", type="rate_limit_error").body()["error"] == {
        "message": "slow down",
        "type": "rate_limit_error",
        "param": None,
        "code": None,
    }


def test_an_unknown_model_names_the_served_ones():
    error = model_not_found("gpt-9", ["b", "a"])
    assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")
    assert "'gpt-9'" in error.message
    assert "'a', 'b'" in error.message


def test_an_unknown_model_of_any_length_makes_a_short_message():
    assert len(model_not_found("x" * 10_000, []).message) < 300


def test_a_failure_of_ours_is_a_server_error():
    error = server_error("step failed")
    assert (error.status_code, error.type, error.code) == (500, "server_error", None)


def test_an_unreadable_body_says_why():
    error = unreadable_body("trailing characters")
    assert (error.status_code, error.param, error.code) == (400, None, None)
    assert error.message.startswith("We could not parse the JSON body of your request.")
    assert "trailing characters" in error.message


def test_a_bad_line_is_an_api_error_that_knows_its_line():
    error = BadLine("no", param="url", code="invalid_url", custom_id="a")
    assert isinstance(error, ApiError)
    assert (error.status_code, error.custom_id) == (400, "a")
    assert error.body()["error"]["code"] == "invalid_url"
