#!/usr/bin/env python3
"""Compares what `llamlx convert -q` packs with mx.quantize, bit for bit.

Makes a small dense checkpoint with the values that quantisers get wrong (rows
that are constant, zero, of one sign, tiny, or have one outlier), in each
floating-point type, and converts it with every number of bits and every group
size, and in every mode. Runs in an environment with mlx.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_folders import read_tensors, same_bits
from program import Program, Report

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)
MODES = ("mxfp4", "mxfp8", "nvfp4")
DTYPES = ("float16", "bfloat16", "float32")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
LAYER = "model.layers.0."
SHAPES = {
    "model.embed_tokens": (64, 256),
    LAYER + "self_attn.q_proj": (256, 256),
    LAYER + "self_attn.k_proj": (128, 256),
    LAYER + "self_attn.v_proj": (128, 256),
    LAYER + "self_attn.o_proj": (256, 256),
    LAYER + "mlp.gate_proj": (128, 256),
    LAYER + "mlp.up_proj": (128, 256),
    LAYER + "mlp.down_proj": (256, 128),
    "lm_head": (64, 256),
}
NORMS = (
    LAYER + "input_layernorm",
    LAYER + "post_attention_layernorm",
    "model.norm",
)


def awkward_rows(rng, rows, columns):
    """Random rows, every tenth kind of which is a corner of the arithmetic."""
    values = rng.standard_normal((rows, columns)) * 0.05
    values[0::10] = 0
    values[1::10] = 0.3
    values[2::10] = -0.7
    values[3::10] = np.abs(values[3::10])
    values[4::10] = -np.abs(values[4::10])
    values[5::10] *= 1e-6
    values[6::10, :: columns // 4] = 40.0
    values[7::10] = np.round(values[7::10] * 50) / 4
    values[8::10] *= 1000
    return values.astype(np.float32)


def write_source(folder, dtype):
    """Writes the dense checkpoint. Returns its tensors."""
    rng = np.random.default_rng(7)
    tensors = {
        f"{name}.weight": mx.array(awkward_rows(rng, *shape))
        for name, shape in SHAPES.items()
    }
    for name in NORMS:
        tensors[f"{name}.weight"] = mx.array(
            rng.uniform(0.5, 1.5, CONFIG["hidden_size"]).astype(np.float32)
        )
    tensors = {n: t.astype(getattr(mx, dtype)) for n, t in tensors.items()}
    folder.mkdir()
    path = str(folder / "model.safetensors")
    mx.save_safetensors(path, tensors, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return tensors


def expected_tensors(tensors, packing):
    """What the converted folder should hold, by mx.quantize."""
    wanted = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 1:
            wanted[name] = tensor
            continue
        module = name.removesuffix(".weight")
        packed, scales, *biases = mx.quantize(tensor, **packing)
        wanted |= {name: packed, f"{module}.scales": scales}
        if biases:
            wanted[f"{module}.biases"] = biases[0]
    return wanted


def compare(report, name, folder, wanted):
    got = read_tensors(folder)
    report.equal(f"{name}: tensor names", sorted(got), sorted(wanted))
    for tensor in sorted(set(got) & set(wanted)):
        a, b = got[tensor], wanted[tensor]
        detail = (
            f"{a.dtype} {a.shape} for {b.dtype} {b.shape}, or values differ"
        )
        report.expect(f"{name}: {tensor}", same_bits(a, b), detail)


def check_dtype(report, program, dtype, scratch):
    source, folder = scratch / dtype, scratch / "converted"
    tensors = write_source(source, dtype)
    packings = [
        {"bits": bits, "group_size": group} for bits in BITS for group in GROUPS
    ] + [{"mode": mode} for mode in MODES]
    cases = [(packing, None) for packing in packings]
    cases += [({}, other) for other in DTYPES if other != dtype]
    for packing, target in cases:
        name = f"{dtype}, {packing}"
        options = ["-q"]
        for key, value in packing.items():
            options += ["--q-" + key.replace("_", "-"), value]
        cast = tensors
        if target:
            name += f", as {target}"
            options += ["--dtype", target]
            cast = {
                n: t.astype(getattr(mx, target)) for n, t in tensors.items()
            }

        def action(
            name=name, options=options, cast=cast, packing=packing
        ):
            shutil.rmtree(folder, ignore_errors=True)
            program.convert(source, folder, *options)
            compare(report, name, folder, expected_tensors(cast, packing))

        report.attempt(name, action)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="the llamlx program")
    args = parser.parse_args()
    program, report = Program(args.program), Report()
    # The reference is what MLX's CPU does.
    mx.set_default_device(mx.cpu)
    with tempfile.TemporaryDirectory() as scratch:
        for dtype in DTYPES:
            check_dtype(report, program, dtype, Path(scratch))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
