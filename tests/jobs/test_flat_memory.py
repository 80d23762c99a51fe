"""Memory of the way from file to files does not grow with the number of lines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.builders import make_line

_PROGRAM = """
import asyncio, json, resource, sys
from array import array
from pathlib import Path
from jobs.drain import Drain
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.queue import BatchState, OutboxEntry, Outcome
from jobs.sinks.final import write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import parse_target, prepare_target
from jobs.store import PartStore
from tests.jobs.builders import FakeQueue, make_row

class Answers(FakeQueue):
    # Makes its entries when they are read, in the order of the fan-out.
    def fill(self, count):
        while len(self.outbox) < count and self.left:
            idx = self.left.pop()
            row = make_row(idx, content="word " * 50, response_json=json.dumps({"a": "word " * 60}))
            self.outbox.append(OutboxEntry(entry_id=f"{idx}-0", idx=idx, custom_id=row.custom_id,
                outcome=Outcome.OK, worker="w", attempt=1, payload=row.encode()))

    async def status(self, batch_id):
        self.fill(1000)
        return await super().status(batch_id)

    async def read_outbox(self, batch_id, count):
        self.fill(count)
        return await super().read_outbox(batch_id, count)

folder = Path(sys.argv[1])
source = open_input(folder / "in.jsonl")
queue = Answers(state=BatchState.FINALIZING)
queue.left = array("I")
for chunk in JsonlProducer(source, served_models={"demo"}).chunks():
    queue.left.extend(item.idx for item in chunk)
target = parse_target(str(folder / "out"))
prepare_target(target, source.path)
store = PartStore.open(target.state_folder / "parts", "batch_a")
asyncio.run(Drain(queue, store).run())
facts = RunFacts(input_path="", input_sha256="")
report = write_final_files(target, store, facts=facts)
peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([report.counts.num_ok, peak_bytes]))
"""


def peak_bytes(folder: Path, num_lines: int) -> int:
    folder.mkdir()
    with (folder / "in.jsonl").open("wb") as file:
        for number in range(num_lines):
            file.write(make_line(number, body={"user": "x" * 200}) + b"\n")
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder)], capture_output=True, check=True
    )
    num_rows, peak = json.loads(finished.stdout)
    assert num_rows == num_lines
    return int(peak)


@pytest.mark.slow
def test_more_lines_take_at_most_32_bytes_each_and_30_mb(tmp_path: Path) -> None:
    small, large = peak_bytes(tmp_path / "small", 5_000), peak_bytes(tmp_path / "large", 60_000)
    assert large - small < 55_000 * 32 + 30_000_000
