"""headrace as a task of Airflow.

    export AIRFLOW__CORE__DAGS_FOLDER=$PWD/examples
    airflow db migrate && airflow dags reserialize
    airflow dags test headrace_answers      # one run, without a scheduler

The command does the work, so Airflow's own environment needs no torch: HEADRACE names the command
where it is not on PATH. A task that failed or was killed continues where it stopped when Airflow
tries it again. Exit code 3 says that some rows failed; they are in errors.jsonl, and the task is
not tried again for them.
"""

import os
import shlex
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

HERE = Path(__file__).absolute().parent
COMMAND = [
    os.environ.get("HEADRACE", "headrace"),
    *("run", str(HERE / "requests.jsonl"), "--model", "demo"),
    *("--output", os.environ.get("ANSWERS", str(Path("out/airflow").absolute()))),
]

with DAG("headrace_answers", schedule=None, catchup=False) as dag:
    BashOperator(
        task_id="answer",
        bash_command=f"{shlex.join(COMMAND)} || [ $? -eq 3 ]",
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
