"""What the checks that run mlx_lm share: reading folders with MLX itself."""

import math

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model


def float32_tolerance(config, logits):
    """How far two correct float32 programs may be apart in a logit.

    Each rounds, in every one of seven products a layer, a sum of about K terms
    to a unit of 2^-24 a term; independent errors add up as their root, to
    sqrt(7 layers K) units relative to the largest logit. Four covers what
    normalising and attention amplify, and that there are two programs.
    """
    unit = 2.0**-24
    terms = max(config["hidden_size"], config["intermediate_size"])
    products = 7 * config["num_hidden_layers"] + 1
    largest = float(np.abs(logits).max())
    return 4 * unit * math.sqrt(products * terms) * largest


def read_tensors(folder):
    """Name -> array of all safetensors files of a folder."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(mx.load(str(path)))
    return tensors


def mlx_lm_logits(folder, ids):
    """mlx_lm's float32 logits [N, V] of a folder, and the folder's config."""
    model, config = load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array([ids]))[0]), config


def same_bits(a, b):
    """Whether two arrays are equal to the last bit, type and shape included."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    whole = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32}[a.dtype.size]
    return bool(mx.array_equal(a.view(whole), b.view(whole)))


def compare_logits(report, program, name, folder, ids, scratch):
    """Compares the logits of llamlx and mlx_lm on the same folder."""
    wanted, config = mlx_lm_logits(folder, ids)
    shape, values = program.logits(folder, ids, scratch)
    report.equal(f"{name}: shape of logits", shape, wanted.shape)
    tolerance = float32_tolerance(config, wanted)
    report.near_all(
        f"{name}: logits", values, wanted.reshape(-1).tolist(), tolerance
    )


def bits_of(config):
    """The bits per weight a folder's config speaks of, those of single modules
    included."""
    quantization = config.get("quantization", {})
    modules = [q for q in quantization.values() if isinstance(q, dict)]
    return sorted({q["bits"] for q in [quantization, *modules] if "bits" in q})
