"""Files and batches as the endpoint's clients see them, kept in Redis; the bytes are in blobs."""
