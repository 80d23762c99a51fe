import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_build_gives_the_same_bits(random_folder: Path, tmp_path: Path) -> None:
    """Also in another process, with another hash seed and number of threads."""
    code = (
        "import sys; from pathlib import Path; from tests.random_model import "
        "build_random_model; build_random_model(Path(sys.argv[1]))"
    )
    environment = {"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment, check=True
    )
    assert _contents(tmp_path) == _contents(random_folder)


def test_it_is_an_ordinary_checkpoint_with_an_end(random_folder: Path) -> None:
    config = json.loads((random_folder / "config.json").read_text())
    tokenizer = json.loads((random_folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    added = {token["content"]: token for token in tokenizer["added_tokens"]}
    assert config["model_type"] == "qwen3"
    assert config["vocab_size"] == 2048
    assert vocabulary["<|im_end|>"] == config["eos_token_id"]
    assert added["<|im_start|>"]["special"]
    assert not added["<tool_call>"]["special"]
    assert sum(path.stat().st_size for path in random_folder.iterdir()) < 12 * 2**20
