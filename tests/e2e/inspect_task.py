"""A local task for inspect_ai; `rows` is the path of its samples."""

from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def local_questions(rows: str) -> Task:
    return Task(dataset=json_dataset(rows), solver=generate(), scorer=includes())
