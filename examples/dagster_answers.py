"""headrace as an asset of Dagster.

    dagster asset materialize --select answers -f examples/dagster_answers.py

The command does the work, so Dagster's own environment needs no torch: HEADRACE names the command
where it is not on PATH. A run that fails or is killed continues when it is materialized again; rows
that failed are no failure of the asset, their number is among its metadata.
"""

import json
import os
import subprocess
from pathlib import Path

import dagster

FINISHED = (0, 3)  # 3: some rows failed, see errors.jsonl
EXAMPLES = Path(__file__).parent


@dagster.asset
def answers() -> dagster.MaterializeResult:
    """The answers to a file of requests, as a folder."""
    output = Path(os.environ.get("ANSWERS", "out/dagster")).absolute()
    command = [os.environ.get("HEADRACE", "headrace"), "run"]
    arguments = [str(EXAMPLES / "requests.jsonl"), "--output", str(output), "--model", "demo"]
    ended = subprocess.run([*command, *arguments], check=False)  # noqa: S603 - our own arguments
    if ended.returncode not in FINISHED:
        raise dagster.Failure(f"headrace ended with {ended.returncode}; materialize it again")
    facts = json.loads((output / "run.json").read_text())
    return dagster.MaterializeResult(
        metadata={
            "rows": facts["counts"]["total"],
            "failed rows": facts["counts"]["failed"],
            "results": dagster.MetadataValue.path(output / "results.parquet"),
        }
    )
