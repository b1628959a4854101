"""Batches of texts of all lengths with about the same number of tokens each, for batches without padding.

The texts are sorted by length and cut into levels of as many texts as there are batches; each batch gets a random text
of each level. Then no batch has more tokens than the longest texts of all levels together, in any epoch, and all
batches have the same number of texts, except that some have one more.
"""

import torch
from torch import Tensor


def steps_of_mixed(lengths: Tensor, tokens: int, world: int = 1) -> int:
    """Number of steps whose batches hold at most ``tokens``; nearly the fewest that `deal` can be sure of.

    Args:
        lengths: Tokens of each text, longest first, ``(texts,)``; a multiple of ``world``.
        tokens: Limit for the batch of one device; the longest text, if it is above the limit.
        world: Number of devices that share a step.
    """
    most = max(tokens, int(lengths[0]))
    steps = max(1, -(-int(lengths.sum()) // (most * world)))
    while int(lengths[:: steps * world].sum()) > most:
        steps = min(steps + 1 + steps // 200, len(lengths) // world)
    return steps


def deal(order: Tensor, steps: int, world: int, generator: torch.Generator) -> tuple[Tensor, list[int]]:
    """Deal texts to steps, each of a batch for each device.

    Args:
        order: The texts, longest first, those of equal length in random order, ``(texts,)``.
        steps: Number of steps.
        world: Number of devices; they take every ``world``-th text of a step.
        generator: Draws who gets which text of a level.

    Returns:
        The texts of each step, one step after the other, ``(texts,)``, and the number of texts in each.
    """
    batches = steps * world
    levels = len(order) // batches
    shares = torch.rand(levels, batches, generator=generator, device="cpu").argsort(1)
    dealt = order[: levels * batches].view(levels, batches).gather(1, shares).view(levels, steps, world)
    rest = order[levels * batches :].view(-1, world)
    last = order.new_full((1, steps, world), -1)
    last[0, torch.randperm(steps, generator=generator, device="cpu")[: len(rest)]] = rest
    texts = torch.cat([dealt, last]).transpose(0, 1).flatten(1)
    sizes: list[int] = (texts >= 0).sum(1).tolist()
    return texts[texts >= 0], sizes
