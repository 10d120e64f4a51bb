"""A Llama computed straight from Meta's names and row order, with positions
turned pair by pair as their files mean it, written from the model's
description. It judges the road by which the stored answers come: rows
permuted, then transformers. Needs torch."""

import math

import torch

# What use_scaled_rope stands for, unless the file says otherwise.
SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def scaling_of(params):
    """How positions are stretched, by transformers' names, or None."""
    if not params.get("use_scaled_rope"):
        return None
    return SCALING | {
        "factor": params.get("rope_scaling_factor", SCALING["factor"])
    }


def frequencies(params, head_dim, dtype):
    """Radians a position for each pair of a head."""
    theta = params.get("rope_theta", 10000.0)
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    plain = theta**-exponents
    scaling = scaling_of(params)
    if scaling is None:
        return plain.to(dtype)
    turns = scaling["original_max_position_embeddings"] * plain / math.tau
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    # 1 where a pair turns often enough to stay as it is, 0 where too seldom.
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (kept * plain + (1 - kept) * plain / scaling["factor"]).to(dtype)


def rotate(x, angles):
    """Turns pairs (0, 1), (2, 3) ... of x [L, H, Dh] by angles [L, Dh/2]."""
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * cos - odd * sin, even * sin + odd * cos)
    return torch.stack(turned, dim=-1).flatten(-2)


class MetaLlama:
    """`tensors` by Meta's names, whole; computes in `dtype`."""

    def __init__(self, params, tensors, dtype):
        self._tensors = {name: t.to(dtype) for name, t in tensors.items()}
        self._params = params
        self._dtype = dtype
        heads = params["n_heads"]
        self._heads = heads
        self._kv_heads = params.get("n_kv_heads", heads)
        self._head_dim = params.get("head_dim", params["dim"] // heads)

    @torch.no_grad()
    def logits(self, ids):
        """The logits [L, V] of every position."""
        positions = torch.arange(len(ids), dtype=self._dtype)[:, None]
        angles = positions * frequencies(
            self._params, self._head_dim, self._dtype
        )
        x = self._tensors["tok_embeddings.weight"][torch.tensor(ids)]
        for layer in range(self._params["n_layers"]):
            x = x + self._attention(f"layers.{layer}.", x, angles)
            x = x + self._mlp(f"layers.{layer}.", x)
        return self._norm("norm", x) @ self._tensors["output.weight"].T

    def _linear(self, name, x):
        return x @ self._tensors[f"{name}.weight"].T

    def _norm(self, name, x):
        mean = x.square().mean(-1, keepdim=True)
        scale = torch.rsqrt(mean + self._params["norm_eps"])
        return x * scale * self._tensors[f"{name}.weight"]

    def _attention(self, layer, x, angles):
        normed, length = self._norm(layer + "attention_norm", x), len(x)

        def project(name, heads):
            y = self._linear(f"{layer}attention.{name}", normed)
            return y.view(length, heads, self._head_dim)

        queries = rotate(project("wq", self._heads), angles)
        keys = rotate(project("wk", self._kv_heads), angles)
        values = project("wv", self._kv_heads)
        group = self._heads // self._kv_heads
        keys = keys.repeat_interleave(group, dim=1)
        values = values.repeat_interleave(group, dim=1)
        scores = torch.einsum("qhd,khd->hqk", queries, keys)
        scores = scores / math.sqrt(self._head_dim)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        mixed = torch.einsum("hqk,khd->qhd", weights, values)
        return self._linear(layer + "attention.wo", mixed.flatten(1))

    def _mlp(self, layer, x):
        normed = self._norm(layer + "ffn_norm", x)
        gate = self._linear(layer + "feed_forward.w1", normed)
        up = self._linear(layer + "feed_forward.w3", normed)
        gated = torch.nn.functional.silu(gate) * up
        return self._linear(layer + "feed_forward.w2", gated)
