"""The model that runs when none is given: 2.0 million weights, part of the package, no download.

It is an ordinary checkpoint of transformers, so the ordinary loading path runs it. Its card is
`weights/README.md`; `training/` made it.
"""

from pathlib import Path

__all__ = ["DEMO_MODEL_PATH"]

DEMO_MODEL_PATH = Path(__file__).parent / "weights"
