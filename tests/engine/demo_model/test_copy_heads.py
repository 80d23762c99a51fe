"""The structured start: an untrained network that already copies."""

import torch

from engine.demo_model.training.copy_heads import start_with_copy_heads
from engine.demo_model.training.network import Network, Shape


def _copied(network: Network) -> float:
    """Share of tokens predicted right in the second half of random sequences said twice."""
    generator = torch.Generator().manual_seed(4)
    first = torch.randint(0, network.shape.vocab_size, (8, 24), generator=generator)
    tokens = torch.cat((first, first), 1)
    with torch.no_grad():
        hidden = network.hidden(tokens.flatten(), torch.arange(48).repeat(8), [(8, 48)])
        best = network.logits(hidden).view(8, 48, -1).argmax(-1)
    return (best[:, 24:-1] == tokens[:, 25:]).float().mean().item()


def test_an_untrained_network_copies_only_with_the_structured_start() -> None:
    torch.manual_seed(0)
    network = Network(Shape(hidden_size=160, num_heads=5, num_kv_heads=5, num_layers=3))
    assert _copied(network) < 0.05
    start_with_copy_heads(network)
    assert _copied(network) > 0.9
