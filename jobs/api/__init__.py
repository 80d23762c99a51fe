"""The HTTP endpoint: OpenAI's Files, Batches and Models, on records and blobs, without a model."""
