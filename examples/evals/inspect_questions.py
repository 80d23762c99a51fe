"""A task for inspect_ai over a local file."""

from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def questions() -> Task:
    """Each answer has to hold a word."""
    return Task(dataset=json_dataset("questions.jsonl"), solver=generate(), scorer=includes())
