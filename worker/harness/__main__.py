"""lm-evaluation-harness's own command line, with one more model: `headrace`.

`python -m worker.harness run --model headrace --model_args pretrained=PATH --tasks ...`

Owns: registering the model. Must not know: what the harness does with it.
"""

import sys

from engine.threads import let_waiting_threads_sleep

__all__ = ["main"]


def main() -> int:
    """Run lm-eval; its exit code, or 2 with one sentence if it is not installed."""
    let_waiting_threads_sleep()  # before torch is imported
    try:
        from lm_eval.__main__ import cli_evaluate
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"headrace: {error.name} is missing; install lm-eval: pip install 'headrace[evals]'\n"
        )
        return 2
    from worker.harness.model import register

    register()
    cli_evaluate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
