"""The demo model's training code: rendering, tokens, gradients, export."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.demo_model.training.accuracy import Reference, exact_share
from engine.demo_model.training.arithmetic import arithmetic, is_held_out
from engine.demo_model.training.batches import STEP_TOKENS, shard
from engine.demo_model.training.examples import Example, call, user
from engine.demo_model.training.export import export, restore
from engine.demo_model.training.mixture import draw
from engine.demo_model.training.network import Network, Shape
from engine.demo_model.training.optimizer import Optimizer
from engine.demo_model.training.rendering import render
from engine.demo_model.training.tokenizer import train_tokenizer

SMALL = Shape(
    vocab_size=700,
    hidden_size=64,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    intermediate_size=96,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    rng = Random(3)
    rendered = [render(draw(rng, 1.0)) for _ in range(400)]
    return train_tokenizer((text.prompt + text.answer for text in rendered), SMALL.vocab_size)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported")
    export(Network(SMALL), tokenizer, path)
    return path


def test_the_same_seed_draws_the_same_examples() -> None:
    first = [draw(Random(f"x/{i}"), 1.0) for i in range(50)]
    assert first == [draw(Random(f"x/{i}"), 1.0) for i in range(50)]
    assert first != [draw(Random(f"y/{i}"), 1.0) for i in range(50)]


def test_another_process_draws_them_too() -> None:
    """Python orders the members of a set differently in each process."""
    code = (
        "from random import Random\n"
        "from engine.demo_model.training.mixture import draw\n"
        "print([draw(Random(f'x/{i}'), 1.0) for i in range(200)])\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_training_text_is_what_transformers_renders(folder: Path) -> None:
    loaded = AutoTokenizer.from_pretrained(folder)
    rng = Random(5)
    for _ in range(60):
        example = draw(rng, 1.0)
        text = loaded.apply_chat_template(
            example.messages,
            tools=example.tools or None,
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=example.thinking,
        )
        assert text == render(example).prompt


def test_tokens_decode_to_the_same_text(tokenizer: Tokenizer) -> None:
    rng = Random(6)
    for _ in range(60):
        text = render(draw(rng, 1.0)).prompt + " naïve 北京 \U0001f600\t\r\n"
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_a_value_has_the_same_tokens_in_a_question_and_in_json(tokenizer: Tokenizer) -> None:
    for value in ("Zorblatt Quimby", "2031-04-05", "AB-123"):
        plain = tokenizer.encode(value).ids
        for text in (f"go to {value}.", f'{{"place": "{value}"}}', f"{value}, please"):
            ids = tokenizer.encode(text).ids
            spans = [ids[i : i + len(plain)] for i in range(len(ids))]
            assert plain in spans


def test_held_out_sums_are_never_drawn() -> None:
    rng = Random(7)
    seen = 0
    for _ in range(1000):
        example = arithmetic(rng)
        turns = [*example.messages, example.answer]
        for asked, answer in zip(turns[::2], turns[1::2], strict=True):
            numbers = [int(n) for n in _numbers(asked["content"])]
            if len(numbers) == 2 and "x" not in asked["content"]:
                result = int(answer["content"])
                if result in (sum(numbers), numbers[0] - numbers[1]):
                    assert not is_held_out(*numbers)
                    seen += 1
    assert seen > 1000


def _numbers(text: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in text).split()


def test_an_earlier_answer_is_learnt_as_it_would_be_written() -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    made = {"role": "assistant", "content": "", "tool_calls": [call("find", {"x": 1})]}
    said = {"role": "assistant", "content": "Done."}
    text = render(Example("single", [user("find 1"), made, user("thanks")], said, [tool]))
    alone = render(Example("single", [user("find 1")], made, [tool]))
    pieces = text.segments()
    assert "".join(piece.text for piece in pieces) == text.prompt + text.answer
    assert [piece.text for piece in pieces if piece.learnt] == [alone.answer, text.answer]
    assert pieces[0].text == alone.prompt


def test_loss_weights_cover_the_answers_and_nothing_past_them(tokenizer: Tokenizer) -> None:
    end = tokenizer.token_to_id("<|im_end|>")
    num_exercises = num_conversations = 0
    for batch in shard(tokenizer, 1, 0, 1.0)[:20]:
        assert batch.tokens.shape == (STEP_TOKENS,)
        assert sum(rows * length for rows, length in batch.groups) == STEP_TOKENS
        offset = 0
        for rows, length in batch.groups:
            for _ in range(rows):
                weights = batch.weights[offset : offset + length]
                targets = batch.targets[offset : offset + length]
                offset += length
                if set(weights) == {0.0, 1.0}:  # an exercise: nothing in it but what is copied
                    num_exercises += 1
                    continue
                num_conversations += 1
                used = int(weights.nonzero()[0][-1]) + 1
                ends = [at for at in range(used - 1) if weights[at] >= 1 and weights[at + 1] < 1]
                assert all(targets[at] == end for at in ends)
                assert weights[used - 1] >= 1
                assert (targets[used:] == 0).all()
    assert num_exercises > 10
    assert num_conversations > 10


def test_exported_weights_give_the_same_logits_in_transformers(
    folder: Path, tokenizer: Tokenizer
) -> None:
    torch.manual_seed(0)
    network = Network(SMALL)
    for parameter in network.parameters():
        parameter.data = parameter.data.bfloat16().float()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = torch.randint(0, SMALL.vocab_size, (2, 40))
    with torch.no_grad():
        expected = model(tokens).logits
        hidden = network.hidden(tokens.flatten(), torch.arange(40).repeat(2), [(2, 40)])
        found = network.logits(hidden).view(2, 40, -1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_exported_weights_can_be_gone_on_from(tokenizer: Tokenizer, folder: Path) -> None:
    torch.manual_seed(1)
    network = Network(SMALL)
    text = render(draw(Random(4), 1.0)).prompt
    assert restore(network, folder).encode(text).ids == tokenizer.encode(text).ids
    torch.manual_seed(0)
    exported = Network(SMALL)
    for name, value in exported.weights.items():
        assert torch.equal(network.weights[name], value.bfloat16().float()), name


def test_a_larger_network_goes_on_from_the_outputs_of_a_smaller_one(folder: Path) -> None:
    small = Network(SMALL)
    restore(small, folder)
    larger = replace(
        SMALL,
        hidden_size=SMALL.hidden_size + 24,
        num_layers=SMALL.num_layers + 1,
        num_heads=2 * SMALL.num_heads,
        num_kv_heads=2 * SMALL.num_kv_heads,
        intermediate_size=SMALL.intermediate_size + 16,
    )
    grown = Network(larger)
    restore(grown, folder)
    tokens = torch.randint(0, SMALL.vocab_size, (80,))
    given = (tokens, torch.arange(40).repeat(2), [(2, 40)])
    logits = grown.logits(grown.hidden(*given))
    # The norms' epsilon weighs more beside further zeros: 0.0004 of logits around 0.2.
    torch.testing.assert_close(logits, small.logits(small.hidden(*given)), rtol=0, atol=1e-3)

    logits.logsumexp(-1).mean().backward()  # type: ignore[no-untyped-call]
    for name in ("layers/0/self_attn/o_proj", "layers/0/mlp/down_proj", "embed_tokens"):
        gradient = grown.weights[name].grad
        assert gradient is not None
        assert gradient[-1].any(), f"the last row of {name} cannot grow"
        assert gradient[:, -1].any(), f"the last column of {name} cannot grow"

    with pytest.raises(ValueError, match="must be those of the weights to start from, or larger"):
        restore(Network(replace(SMALL, intermediate_size=8)), folder)
    with pytest.raises(ValueError, match="fewer layers"):
        restore(Network(replace(SMALL, num_layers=SMALL.num_layers - 1)), folder)
    with pytest.raises(ValueError, match="the width of a head cannot grow"):
        restore(Network(replace(SMALL, head_dim=2 * SMALL.head_dim)), folder)


def test_training_lowers_the_loss_and_the_check_sees_it() -> None:
    torch.manual_seed(1)
    network = Network(SMALL)
    optimizer = Optimizer(network.named_parameters(), matrix_rate=0.02, other_rate=0.01)
    ids = list(range(20, 40))
    tokens, targets = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
    reference = [[Reference("row", ids, 5)]]
    assert exact_share(network, reference, "cpu") == {"row": 0.0}
    for _ in range(40):
        hidden = network.hidden(tokens, torch.arange(19), [(1, 19)])
        network.losses(hidden, targets).mean().backward()
        optimizer.step(1.0)
    assert exact_share(network, reference, "cpu") == {"row": 1.0}
