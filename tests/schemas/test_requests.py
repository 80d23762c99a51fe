from schemas.batch import SUPPORTED_ENDPOINTS
from schemas.chat import ChatCompletionRequest
from schemas.completions import CompletionRequest
from schemas.requests import CHAT_URL, COMPLETIONS_URL, ENDPOINTS, check_request


def test_each_endpoint_parses_its_own_requests() -> None:
    bodies = {
        CHAT_URL: {"model": "m", "messages": [{"role": "user", "content": "x"}]},
        COMPLETIONS_URL: {"model": "m", "prompt": "x"},
    }
    kinds = {CHAT_URL: ChatCompletionRequest, COMPLETIONS_URL: CompletionRequest}
    assert tuple(ENDPOINTS) == SUPPORTED_ENDPOINTS == tuple(bodies)
    for url, body in bodies.items():
        ENDPOINTS[url].check_required(body)
        request = ENDPOINTS[url].parse(body)
        assert type(request) is kinds[url]
        check_request(request)
