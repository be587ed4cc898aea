"""The loss of the next item: cross-entropy over all items, or over a sample of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

ROWS = 512  # whose scores of all items are held at a time, so that they stay in a cache


class SoftmaxLoss(torch.autograd.Function):
    """Mean cross-entropy of `vector @ item.T + bias` against one item each, a few rows at a time.

    Its gradients are found on the way, so that the scores of `(rows, items)` are never held: less memory, and on a CPU
    half of the time.
    """

    @staticmethod
    def forward(ctx: Any, vector: Tensor, item: Tensor, bias: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            ctx: Where the gradients are kept.
            vector: `(rows, dim)`.
            item: `(items, dim)`.
            bias: `(items,)`.
            target: `(rows,)` int64, in [0, items).
        """
        kind = torch.get_autocast_dtype(vector.device.type)
        kind = kind if torch.is_autocast_enabled(vector.device.type) else vector.dtype
        rows, table, total = vector.to(kind), item.to(kind), vector.new_zeros((), dtype=torch.float32)
        of_vector, of_item, of_bias = torch.empty_like(rows), torch.zeros_like(item), torch.zeros_like(bias)
        with torch.autocast(vector.device.type, enabled=False):
            for start in range(0, len(rows), ROWS):
                part, wanted = rows[start : start + ROWS], target[start : start + ROWS, None]
                score = (part @ table.T).float()
                score += bias
                of_target = score.gather(1, wanted)
                highest = score.amax(1, keepdim=True)
                score -= highest
                score.exp_()
                summed = score.sum(1, keepdim=True)
                total += (highest + summed.log() - of_target).sum()
                score /= summed * len(rows)
                score.scatter_add_(1, wanted, torch.full_like(of_target, -1 / len(rows)))
                of_bias += score.sum(0)
                chance = score.to(kind)
                of_vector[start : start + ROWS] = chance @ table
                of_item += (chance.T @ part).to(item.dtype)
        ctx.save_for_backward(of_vector.to(vector.dtype), of_item, of_bias)
        return total / len(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        of_vector, of_item, of_bias = ctx.saved_tensors
        return of_vector * gradients[0], of_item * gradients[0], of_bias * gradients[0], None


def softmax_loss(vector: Tensor, item: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over all items, a scalar; see `SoftmaxLoss`."""
    loss: Tensor = SoftmaxLoss.apply(vector, item, bias, target)  # type: ignore[no-untyped-call]
    return loss


def sampled_items(
    target: Tensor, share: Tensor, negatives: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Items for a sampled softmax: those of the batch, and others drawn uniformly.

    Args:
        target: Next items of the batch, `(rows,)` int64.
        share: The share of all next items that each item is, `(items,)`.
        negatives: How many are drawn, with repetition.
        generator: For the draws.

    Returns:
        The items, distinct and ascending, `(sampled,)`; the place of each target among them, `(rows,)`; and the
        logarithm of how likely each was to be among them, `(sampled,)`, which is taken from its score (Bengio &
        Senecal 2008), so that frequent items, which are in most batches, are not pushed down for it.
    """
    drawn = torch.randint(len(share), (negatives,), generator=generator, device=target.device)
    items = torch.unique(torch.cat([target, drawn]))
    missed = len(target) * torch.log1p(-share[items].clamp(max=1 - 1e-6)) + negatives * torch.log1p(
        share.new_tensor(-1 / max(len(share), 2))
    )
    return items, torch.searchsorted(items, target), torch.log(-torch.expm1(missed))
