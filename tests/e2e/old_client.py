"""Every call of an older client against an endpoint, run by an interpreter that imports that one.

Arguments: base URL, key, model. Prints a JSON object of what it saw; a failed check raises.
"""

import json
import sys
import time

import openai


def lines(model: str) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    rows = [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": each}
        for n, each in enumerate((body, body, body | {"temperature": 9}))
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def run_batch(client: openai.OpenAI, model: str) -> dict[str, object]:
    file = client.files.create(file=lines(model), purpose="batch")
    assert client.files.wait_for_processing(file.id).status == "processed"
    assert client.files.retrieve(file.id).id == file.id
    assert client.files.content(file.id).read() == lines(model)
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    assert batch.request_counts is not None
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None
    output = client.files.content(batch.output_file_id).text.splitlines()
    errors = client.files.content(batch.error_file_id).text.splitlines()
    assert batch.id in [each.id for each in client.batches.list(limit=2)]
    assert file.id in [each.id for each in client.files.list(purpose="batch")]
    try:
        client.batches.cancel(batch.id)
    except openai.ConflictError:
        pass
    else:
        raise AssertionError("a completed batch was cancelled")
    assert client.files.delete(file.id).deleted
    counts = batch.request_counts
    return {
        "status": batch.status,
        "counts": [counts.total, counts.completed, counts.failed],
        "custom_ids": [json.loads(line)["custom_id"] for line in output + errors],
    }


def main(base_url: str, key: str, model: str) -> None:
    client = openai.OpenAI(
        base_url=base_url, api_key=key, max_retries=0, _strict_response_validation=True
    )
    seen: dict[str, object] = {"version": openai.__version__}
    seen |= run_batch(client, model)
    assert model in [each.id for each in client.models.list()]
    assert client.models.retrieve(model).id == model
    question = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    answer = client.chat.completions.create(**question, seed=1, temperature=0)
    chunks = list(client.chat.completions.create(**question, seed=1, temperature=0, stream=True))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == (answer.choices[0].message.content or "")
    text = client.completions.create(model=model, prompt="hi", max_tokens=3)
    assert text.choices[0].finish_reason in ("stop", "length")
    try:
        client.chat.completions.create(**question, n=0)
    except openai.BadRequestError as error:
        seen["refusal"] = [error.code, error.param]
    try:
        client.files.retrieve("file-unknown")
    except openai.NotFoundError as error:
        seen["unknown"] = error.param
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
