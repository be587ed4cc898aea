"""Layers of a causal transformer over histories: gated pre-norm blocks with rotary positions and times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recsys.bundle.encoder import MAX_WAVE, MIN_WAVE, POSITION_BASE
from recsys.bundle.encoder_layers import EPSILON
from recsys.bundle.typing import Float32Array

BITS = 256  # the probability of a dropout is a multiple of its inverse
WORD = 8  # random bytes that are drawn at a time
LONGEST = 400  # rows of a window up to which chances in memory take less than PyTorch's passes over blocks, in bfloat16
MASKED = -3e4  # added to a score that does not count; bfloat16 has it


class CausalAttention(torch.autograd.Function):
    """Attention of each row of a window to itself and the rows before, `(windows, heads, rows, dim)`.

    As `torch.nn.functional.scaled_dot_product_attention(is_causal=True)`, whose backward pass in bfloat16 takes three
    to ten times as long on a CPU for windows of some hundred rows (`benchmarks/attention.py`). The chances `(windows,
    heads, rows, rows)` are held in memory here.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rows = query.shape[-2]
        mask = torch.full((rows, rows), MASKED, dtype=query.dtype, device=query.device).triu(1)
        q, k, v = (tensor.flatten(0, -3) for tensor in (query, key, value))
        chance = torch.baddbmm(mask.expand(len(q), -1, -1), q, k.mT, alpha=query.shape[-1] ** -0.5).softmax(-1)
        result = chance @ v
        ctx.save_for_backward(q, k, v, chance, result)
        return result.view_as(query)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        q, k, v, chance, result = ctx.saved_tensors
        gradient = gradients[0].flatten(0, -3)
        of_score = gradient @ v.mT
        of_score -= (gradient.float() * result.float()).sum(-1, keepdim=True).to(of_score.dtype)
        of_score *= chance
        of_score *= q.shape[-1] ** -0.5
        of_all = of_score @ k, of_score.mT @ q, chance.mT @ gradient
        return tuple(tensor.view_as(gradients[0]) for tensor in of_all)


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each row to itself and the rows before, `(windows, heads, rows, dim)` each."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[-2] <= LONGEST:
        attended: Tensor = CausalAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
        return attended
    return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)


class _Dropped(torch.autograd.Function):
    """Zeroes with a probability in 256ths, and scales what is left; a fifth of the time of PyTorch's on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, zeroed: int, generator: torch.Generator) -> Tensor:
        words = torch.empty(-(-x.numel() // WORD), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=generator)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= zeroed
        ctx.scale = BITS / (BITS - zeroed)
        ctx.save_for_backward(kept)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return (gradients[0] * ctx.saved_tensors[0]).mul_(ctx.scale), None, None


class Dropout(nn.Module):
    """Zeroes coordinates with a probability, to the next 1/256, by a generator that the model seeds.

    Args:
        dropout: The probability, in [0, 1).
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.zeroed = min(round(dropout * BITS), BITS - 1)
        self.generator = torch.Generator()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.zeroed:
            return x
        dropped: Tensor = _Dropped.apply(x, self.zeroed, self.generator)  # type: ignore[no-untyped-call]
        return dropped


class Rotation:
    """Turns pairs of coordinates of queries and keys by their position and time, so that products see the distances.

    Rotary embeddings (Su et al. 2021): the first half of a head by position, the second by time, with waves of
    `MIN_WAVE` to `MAX_WAVE` seconds; all of it by position where there are no times.

    Args:
        rows: Rows of the windows.
        dim: Of a head, even.
        time: Seconds, of each row, `(windows, rows)` int64; None: none.
    """

    def __init__(self, rows: int, dim: int, time: Tensor | None, device: torch.device) -> None:
        pairs = dim // 2
        by_time = 0 if time is None else pairs // 2
        exponent = torch.arange(pairs - by_time, dtype=torch.float64, device=device) / (pairs - by_time)
        place = torch.arange(rows, dtype=torch.float64, device=device)
        angle = (place[:, None] * POSITION_BASE**-exponent)[None]  # (1, rows, pairs)
        if time is not None:
            share = torch.linspace(0, 1, by_time, dtype=torch.float64, device=device)
            waves = MIN_WAVE * (MAX_WAVE / MIN_WAVE) ** share
            turns = (time - time[:, :1]).double()[..., None] / waves
            of_time = 2 * torch.pi * (turns - turns.floor())
            angle = torch.cat([angle.expand(len(time), -1, -1), of_time], -1)
        self.cos, self.sin = angle.cos().float()[:, None], angle.sin().float()[:, None]  # (windows, 1, rows, pairs)

    def __call__(self, x: Tensor) -> Tensor:
        """The turned rows, `(windows, heads, rows, dim)`."""
        first, second = x.chunk(2, -1)
        turned = torch.cat([first * self.cos - second * self.sin, first * self.sin + second * self.cos], -1)
        return turned.to(x.dtype)


class Block(nn.Module):
    """A pre-norm transformer block whose two branches are gated, as in LiGR (Borisyuk et al. 2025).

        x = x + sigmoid(gate) * attention(norm(x))
        x = x + sigmoid(gate) * down(silu(up1) * up2),  all of norm(x)

    Args:
        dim: Of a row.
        heads: Of attention; divides `dim`.
        hidden_dim: Coordinates between the two layers of the feed-forward part (SwiGLU, Shazeer 2020).
        dropout: Probability of zeroing a coordinate of either branch.
    """

    def __init__(self, dim: int, heads: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.hidden_dim = heads, hidden_dim
        self.attention_norm, self.feed_norm = nn.LayerNorm(dim, EPSILON), nn.LayerNorm(dim, EPSILON)
        self.attention_in = nn.Linear(dim, 4 * dim, bias=False)  # query, key, value, gate
        self.attention_out = nn.Linear(dim, dim, bias=False)
        self.feed_in = nn.Linear(dim, 2 * hidden_dim + dim, bias=False)  # up1, up2, gate
        self.feed_out = nn.Linear(hidden_dim, dim, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, rotation: Rotation) -> Tensor:
        """The rows after this block, `(windows, rows, dim)`."""
        windows, rows, dim = x.shape
        *parts, gate = self.attention_in(self.attention_norm(x)).chunk(4, -1)
        query, key, value = (part.view(windows, rows, self.heads, -1).transpose(1, 2) for part in parts)
        attended = causal_attention(rotation(query), rotation(key), value.contiguous())
        attended = self.attention_out(attended.transpose(1, 2).reshape(windows, rows, dim))
        x = x + self.dropout(attended * gate.sigmoid())
        up, along, gate = self.feed_in(self.feed_norm(x)).split([self.hidden_dim, self.hidden_dim, dim], -1)
        fed = self.feed_out(nn.functional.silu(up) * along)
        after: Tensor = x + self.dropout(fed * gate.sigmoid())
        return after

    def arrays(self) -> dict[str, Float32Array]:
        """The weights by the names that a bundle's `Encoder` has for them, each `(rows in, coordinates out)`."""
        dim, hidden = self.attention_out.weight.shape[0], self.hidden_dim
        found = {"attention_norm": plain_norm(self.attention_norm), "feed_norm": plain_norm(self.feed_norm)}
        for names, layer, coordinates in (
            (("query", "key", "value", "attention_gate"), self.attention_in, [dim] * 4),
            (("attention_out",), self.attention_out, [dim]),
            (("feed_up", "feed_along", "feed_gate"), self.feed_in, [hidden, hidden, dim]),
            (("feed_out",), self.feed_out, [dim]),
        ):
            parts = torch.split(layer.weight, coordinates)
            found |= {name: plain_array(part.T) for name, part in zip(names, parts, strict=True)}
        return found


def plain_array(tensor: Tensor) -> Float32Array:
    """A tensor as a NumPy array of float32."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def plain_norm(norm: nn.LayerNorm) -> Float32Array:
    """Scale and shift, `(2, dim)`."""
    return np.stack([plain_array(norm.weight), plain_array(norm.bias)])


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 have units of their own on this device, and so are faster than float32's."""
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def reduced_precision(weights: Tensor, wanted: bool | None = None) -> Iterator[None]:
    """Matrix products in bfloat16, of weights in float32, unless `trainer.precision` says how.

    Args:
        weights: Of the model.
        wanted: Whether so; None: where the device has units for it.
    """
    device = weights.device
    fast = has_fast_bfloat16(device) if wanted is None else wanted
    if weights.dtype != torch.float32 or torch.is_autocast_enabled(device.type) or not fast:
        yield
        return
    with torch.autocast(device.type, torch.bfloat16):
        yield
