"""The processes: composition root, worker loop, command line, metrics, health."""
