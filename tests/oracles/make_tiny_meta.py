#!/usr/bin/env python3
"""Makes tiny random Llama checkpoints in Meta's files, with PyTorch's answers.

For every case of meta_cases.py this writes consolidated.NN.pth, params.json
and answers.json. The answers come from the files as they were written: the
shards are joined, rows of queries and keys permuted to Hugging Face's order,
and transformers' LlamaForCausalLM asked, in float32 and in float64; and
meta_llama.py, which permutes nothing, must find the same. Needs torch and
transformers.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import torch
from meta_cases import CASES
from meta_layout import cut_axis, parameter_shapes
from meta_llama import MetaLlama, frequencies, scaling_of
from torch_answers import (
    SILENT,
    ask,
    describe_tensors,
    draw_until_clear,
    draw_weights,
    make_all,
    largest_difference,
    logits_of,
    write_json,
)
from transformers import LlamaConfig, LlamaForCausalLM

HF_NAMES = {
    "tok_embeddings": "model.embed_tokens",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "norm": "model.norm",
    "output": "lm_head",
}
# A difference that no rounding makes: between right and wrong positions, say.
TELLING = 1e-2


def hf_name(name):
    layer = re.match(r"(layers\.\d+\.)?(.*)\.weight", name)
    prefix = "model." + layer[1] if layer[1] else ""
    return f"{prefix}{HF_NAMES[layer[2]]}.weight"


def heads_of(name, params):
    """How many heads' rows must be permuted: none but those of wq and wk."""
    heads = params["n_heads"]
    if ".wq." in name:
        return heads
    return params.get("n_kv_heads", heads) if ".wk." in name else None


def swap_rows(tensor, heads, first, second):
    """Rows of each head, seen as first x second, transposed."""
    width = tensor.shape[1]
    rows = tensor.reshape(heads, first, second, width)
    return rows.transpose(1, 2).reshape(-1, width)


def to_hf(tensors, params):
    """Pairs (0, 1), (2, 3) ... of a head become (0, Dh/2), (1, 1 + Dh/2) ..."""
    renamed = {}
    for name, tensor in tensors.items():
        heads = heads_of(name, params)
        if heads:
            half = tensor.shape[0] // heads // 2
            tensor = swap_rows(tensor, heads, half, 2)
        renamed[hf_name(name)] = tensor
    return renamed


def from_hf(model, case):
    """The model's parameters in Meta's names, row order and the case's type."""
    shapes = parameter_shapes(case.params, case.hidden_dim, case.vocab)
    dtype, ours = getattr(torch, case.dtype), model.state_dict()
    tensors = {}
    for name, shape in shapes.items():
        tensor = ours[hf_name(name)].to(dtype)
        heads = heads_of(name, case.params)
        if heads:
            tensor = swap_rows(tensor, heads, 2, tensor.shape[0] // heads // 2)
        assert tensor.shape == shape, name
        tensors[name] = tensor.clone()
    if case.storage == "tied":
        tensors["output.weight"] = tensors["tok_embeddings.weight"]
    return tensors


def config_of(case):
    params = case.params
    rope = {
        "rope_type": "default",
        "rope_theta": float(params.get("rope_theta", 10000.0)),
    }
    scaling = scaling_of(params)
    if scaling:
        rope |= {"rope_type": "llama3"} | scaling
    return LlamaConfig(
        hidden_size=params["dim"],
        intermediate_size=case.hidden_dim,
        num_attention_heads=params["n_heads"],
        num_key_value_heads=params.get("n_kv_heads", params["n_heads"]),
        head_dim=params.get("head_dim", params["dim"] // params["n_heads"]),
        num_hidden_layers=params["n_layers"],
        vocab_size=case.vocab,
        rms_norm_eps=params["norm_eps"],
        max_position_embeddings=32768,
        rope_parameters=rope,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )


def cut(case, name, tensor, shard):
    """One shard's part; a view of the whole, or a tensor of its own."""
    axis = cut_axis(name, tensor.ndim, case.vocab_rows)
    if axis is not None:
        tensor = tensor.chunk(case.shards, dim=axis)[shard]
    return tensor if case.storage else tensor.clone()


def write_folder(folder, case, tensors):
    rates = frequencies(
        case.params, config_of(case).head_dim, torch.float32
    )
    for shard in range(case.shards):
        part = {n: cut(case, n, t, shard) for n, t in tensors.items()}
        if case.frequencies == "model":
            part["rope.freqs"] = rates.to(getattr(torch, case.dtype))
        elif case.frequencies == "layers":
            for layer in range(case.params["n_layers"]):
                name = f"layers.{layer}.attention.inner_attention.rope.freqs"
                part[name] = rates
        torch.save(
            part,
            folder / case.file_name.format(shard),
            _use_new_zipfile_serialization=not case.older_stream,
        )
    # Python's own spelling, as Meta's files have it.
    (folder / "params.json").write_text(
        json.dumps(case.params) + "\n", encoding="ascii"
    )


def read_folder(folder, case):
    """Joins the shards. Returns the tensors of the model, whole."""
    parts = [
        torch.load(folder / case.file_name.format(i), weights_only=True)
        for i in range(case.shards)
    ]
    whole = {}
    for name, first in parts[0].items():
        axis = cut_axis(name, first.ndim, case.vocab_rows)
        if name.endswith("rope.freqs"):
            continue
        if axis is None:
            whole[name] = first
        else:
            whole[name] = torch.cat([part[name] for part in parts], dim=axis)
    return whole


def hf_model(case, tensors, dtype):
    model = LlamaForCausalLM(config_of(case)).to(dtype)
    renamed = to_hf(tensors, case.params)
    model.load_state_dict({n: t.to(dtype) for n, t in renamed.items()})
    return model.eval()


def agrees_directly(case, tensors, models, ids):
    """Whether meta_llama.py, in float64, says the same; far from it is an
    error. Each key that scales positions must matter."""
    exact = MetaLlama(case.params, tensors, torch.float64).logits(ids)
    off = max(largest_difference(logits_of(m, ids), exact) for m in models)
    if off > TELLING:
        raise SystemExit(f"{case.name}: {off} from the direct computation")
    for key in ("use_scaled_rope", "rope_scaling_factor"):
        if case.params.get(key):
            other = {k: v for k, v in case.params.items() if k != key}
            plain = MetaLlama(other, tensors, torch.float64).logits(ids)
            if largest_difference(plain, exact) < TELLING:
                raise SystemExit(f"{case.name}: {key} hardly matters")
    return off <= case.max_error


def make(case, out):
    """Draws weights until the answers are clear, and keeps that folder."""
    folder = out / case.name

    def attempt(generator):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model = LlamaForCausalLM(config_of(case))
        draw_weights(model, generator)
        if case.speaks:
            with torch.no_grad():
                model.lm_head.weight[SILENT] *= 0.05
        write_folder(folder, case, from_hf(model, case))
        tensors = read_folder(folder, case)
        single = hf_model(case, tensors, torch.float32)
        double = hf_model(case, tensors, torch.float64)
        answers, clear = ask(
            single, double, generator, case.nll_lengths, case.max_error
        )
        ids = answers["last_logits"]["ids"]
        if not agrees_directly(case, tensors, (single, double), ids):
            return None
        if not clear:
            return None
        answers["tensors"] = describe_tensors(to_hf(tensors, case.params))
        answers["speaks"] = case.speaks
        return answers

    answers = draw_until_clear(case.name, case.seed, attempt)
    write_json(folder / "answers.json", answers)
    return answers


def main():
    data = Path(__file__).resolve().parent.parent / "data" / "meta"
    return make_all(__doc__, CASES, make, data)


if __name__ == "__main__":
    sys.exit(main())
