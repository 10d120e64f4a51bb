#!/usr/bin/env python3
"""Compares what llamlx reads from GGUF files with the gguf package.

Writes GGUF files of tiny checkpoints in every type llamlx reads losslessly and
converts them: each value must be the one the gguf package finds, to the last
bit, in Hugging Face's row order. The float32 ones must give PyTorch's logits.
Then K-quants, of which float16 may round scales, biases or values.
With --gguf, the values of a real file too, and what `--dtype` and `-q` make of
them. Runs in an environment with mlx_lm and gguf.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from stored_answers import tolerance
from gguf import GGMLQuantizationType as Type
from gguf_source import K_QUANTS, Gguf, write_model
from mlx_folders import compare_logits, read_tensors, same_bits
from program import Program, Report, read_json
from tiny_experts import by_stack

LOSSLESS = (
    Type.Q4_0,
    Type.Q4_1,
    Type.Q5_0,
    Type.Q5_1,
    Type.Q8_0,
    Type.F16,
    Type.BF16,
    Type.F32,
)
# Checkpoints whose widths blocks of 32 divide, one for each way of positions
# and layout that GGUF can say.
NAMES = (
    "gqa_4_2",
    "mqa_4_1",
    "head_dim_32",
    "head_dim_64",
    "attention_bias",
    "all_biases_float32",
    "tied",
    "rope_theta",
    "rope_linear",
    "rope_yarn",
    "qwen2",
    "qwen3",
    "qwen3_yarn",
    "mixtral_groups_divide",
    "qwen3_moe_groups_divide",
)
# GGUF holds divisors where a config says llama3; those of Llama 3.1.
LLAMA31 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def expanded(folder):
    """Name -> float32 values of a folder, packed weights multiplied out."""
    config, tensors = read_json(folder / "config.json"), read_tensors(folder)
    common = config.get("quantization", {})
    values = {}
    for name, tensor in tensors.items():
        module, kind = name.rsplit(".", 1)
        if kind in ("scales", "biases"):
            continue
        if kind == "weight" and f"{module}.scales" in tensors:
            here = common.get(module, common)
            tensor = mx.dequantize(
                tensor,
                tensors[f"{module}.scales"].astype(mx.float32),
                tensors[f"{module}.biases"].astype(mx.float32),
                group_size=here["group_size"],
                bits=here["bits"],
            )
        values[name] = np.array(tensor.astype(mx.float32))
    return values


def stack_arrays(tensors):
    """Name -> array, experts joined."""
    whole, stacks = by_stack(tensors)
    return whole | {name: np.stack(parts) for name, parts in stacks.items()}


def compare_values(report, name, folder, wanted):
    got = expanded(folder)
    report.equal(f"{name}: tensor names", sorted(got), sorted(wanted))
    for tensor in sorted(set(got) & set(wanted)):
        a, b = got[tensor], wanted[tensor]
        same = a.shape == b.shape and np.array_equal(a, b)
        report.expect(f"{name}: {tensor}", same, "values differ")


def check_tiny(report, program, source, tensor_type, rope, scratch):
    """One checkpoint in one type; `rope` replaces its positions."""
    name = f"{source.name}, {tensor_type.name}"
    file, folder = scratch / "tiny.gguf", scratch / "converted"
    config = read_json(source / "config.json")
    if rope:
        name += ", llama3"
        config["rope_parameters"] = rope
    tensors = stack_arrays(
        {
            n: np.array(t.astype(mx.float32))
            for n, t in read_tensors(source).items()
        }
    )
    write_model(file, config, tensors, tensor_type)
    shutil.rmtree(folder, ignore_errors=True)
    program.convert(file, folder)
    wanted = dict(Gguf(file).tensors())
    compare_values(report, name, folder, wanted)
    answers = read_json(source / "answers.json")
    ids = answers["last_logits"]["ids"]
    # mlx_lm on what was written proves the config; llamlx on the GGUF itself
    # must agree with PyTorch where the values are PyTorch's.
    compare_logits(report, program, name, folder, ids, scratch)
    if tensor_type == Type.F32 and not rope:
        shape, values = program.logits(file, ids, scratch)
        report.near_all(
            f"{name}: logits from the file itself",
            values[-shape[-1] :],
            answers["last_logits"]["logits"],
            tolerance(answers),
        )


def room_of(folder, name):
    """How far a value may be from what it was before float16 rounded the scale
    and the bias of its group to 11 bits; 0 where nothing is packed."""
    tensors = read_tensors(folder)
    module = name.removesuffix(".weight")
    if f"{module}.scales" not in tensors:
        return 0
    common = read_json(folder / "config.json")["quantization"]
    here = common.get(module, common)
    scales, biases = (
        np.abs(np.array(tensors[f"{module}.{kind}"].astype(mx.float32)))
        for kind in ("scales", "biases")
    )
    codes = 2 ** here["bits"] - 1
    room = (codes * scales + biases) * 2**-11 + (codes + 1) * 2**-25
    return np.repeat(room, here["group_size"], axis=-1)


def check_k_quants(report, program, config, tensor_type, scratch):
    """A model of random blocks, wide enough for blocks of 256."""
    name = f"random, {tensor_type.name}"
    file, folder = scratch / "tiny.gguf", scratch / "converted"
    width, inner, vocab = 256, 512, 32
    kv_width = width // config["num_attention_heads"]
    kv_width *= config["num_key_value_heads"]
    config = config | {
        "hidden_size": width,
        "intermediate_size": inner,
        "head_dim": width // config["num_attention_heads"],
        "vocab_size": vocab,
        "num_hidden_layers": 1,
    }
    layer = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": (vocab, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (vocab, width),
        f"{layer}input_layernorm.weight": (width,),
        f"{layer}post_attention_layernorm.weight": (width,),
        f"{layer}self_attn.q_proj.weight": (width, width),
        f"{layer}self_attn.k_proj.weight": (kv_width, width),
        f"{layer}self_attn.v_proj.weight": (kv_width, width),
        f"{layer}self_attn.o_proj.weight": (width, width),
        f"{layer}mlp.gate_proj.weight": (inner, width),
        f"{layer}mlp.up_proj.weight": (inner, width),
        f"{layer}mlp.down_proj.weight": (width, inner),
    }
    tensors = {n: np.ones(s, dtype=np.float32) for n, s in shapes.items()}
    write_model(file, config, tensors, tensor_type)
    shutil.rmtree(folder, ignore_errors=True)
    program.convert(file, folder)
    got, wanted = expanded(folder), dict(Gguf(file).tensors())
    report.equal(f"{name}: tensor names", sorted(got), sorted(wanted))
    for tensor in sorted(set(got) & set(wanted)):
        a, b = got[tensor], wanted[tensor]
        room = room_of(folder, tensor)
        if not np.any(room):  # of norms, rounding changes nothing
            b = b.astype(np.float16).astype(np.float32)
        same = a.shape == b.shape and bool(np.all(np.abs(a - b) <= room))
        report.expect(f"{name}: {tensor}", same, "values differ")


def check_real(report, program, file, scratch):
    """A real file: kept as it is, rounded to bfloat16, and quantised anew."""
    folder = scratch / "real"
    wanted = dict(Gguf(file).tensors())
    program.convert(file, folder)
    compare_values(report, "real file", folder, wanted)
    shutil.rmtree(folder)

    program.convert(file, folder, "--dtype", "bfloat16")
    rounded = {n: mx.array(v).astype(mx.bfloat16) for n, v in wanted.items()}
    got = read_tensors(folder)
    report.equal("real file, bfloat16: names", sorted(got), sorted(rounded))
    for name in sorted(set(got) & set(rounded)):
        same = same_bits(got[name], rounded[name])
        report.expect(f"real file, bfloat16: {name}", same, "values differ")
    shutil.rmtree(folder)

    program.convert(file, folder, "-q")
    got = read_tensors(folder)
    for name, values in rounded.items():
        if values.ndim == 1:
            same = same_bits(got[name], values)
        else:
            module = name.removesuffix(".weight")
            packed = mx.quantize(values, group_size=64, bits=4)
            names = (name, f"{module}.scales", f"{module}.biases")
            same = all(same_bits(got[n], p) for n, p in zip(names, packed))
        report.expect(f"real file, 4-bit: {name}", same, "values differ")


def main():
    data = Path(__file__).resolve().parent.parent / "data" / "tiny"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="the llamlx program")
    parser.add_argument("logits", type=Path, help="the llamlx_logits program")
    parser.add_argument("--gguf", type=Path, help="a real file, SmolLM2's")
    args = parser.parse_args()
    program, report = Program(args.program, args.logits), Report()
    mx.set_default_device(mx.cpu)
    cases = [(name, None) for name in NAMES] + [("head_dim_64", LLAMA31)]
    with tempfile.TemporaryDirectory() as scratch:
        for name, rope in cases:
            for tensor_type in LOSSLESS:
                report.attempt(
                    f"{name}, {tensor_type.name}",
                    lambda name=name, rope=rope, kind=tensor_type: check_tiny(
                        report, program, data / name, kind, rope, Path(scratch)
                    ),
                )
        config = read_json(data / "gqa_4_2" / "config.json")
        for tensor_type in K_QUANTS:
            report.attempt(
                f"random, {tensor_type.name}",
                lambda kind=tensor_type: check_k_quants(
                    report, program, config, kind, Path(scratch)
                ),
            )
        if args.gguf:
            report.attempt(
                "real file",
                lambda: check_real(report, program, args.gguf, Path(scratch)),
            )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
