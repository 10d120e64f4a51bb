#!/usr/bin/env python3
"""Runs a script of mlx-examples' llms/llama, which original_scripts.py laid
into a folder, unchanged.

    run_original.py FOLDER plain|repaired convert.py|llama.py [ARGUMENTS...]
    run_original.py FOLDER plain|repaired ask MODEL < questions.json

MLX and torch have changed under the scripts. "repaired" puts into MLX what
they need to run as they were meant, and changes not a line of them:

- linear layers are quantised by the call that MLX once had,
- shards are read in the order of their numbers, not as the disk lists them,
- rotary frequencies, which are no parameter, are left out,
- the causal mask stays floating-point where weights are packed integers.

"ask" loads MODEL with the script's own loader, and answers in JSON, for every
list of ids: the greedy tokens as the script generates them, in the type of the
weights or in float32, and in float32 those tokens' margins; and the float32
logits of whole sequences.
"""

import glob
import importlib
import json
import re
import runpy
import sys

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map


def is_frequencies(name):
    return name.endswith("rope.freqs")


def without_frequencies(tree):
    """A tree of parameters, less those whose path ends in rope.freqs."""
    if isinstance(tree, list):
        return [without_frequencies(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    kept = {}
    for key, value in tree.items():
        if key == "rope" and isinstance(value, dict) and "freqs" in value:
            continue
        value = without_frequencies(value)
        if value != {}:
            kept[key] = value
    return kept


class FloatMask:
    """A mask that refuses to become integers."""

    def __init__(self, mask):
        self._mask = mask

    def astype(self, dtype):
        floating = mx.issubdtype(dtype, mx.floating)
        return self._mask.astype(dtype if floating else mx.float16)


def quantize_linear(model, group_size, bits):
    nn.quantize(
        model,
        group_size,
        bits,
        class_predicate=lambda _, module: isinstance(module, nn.Linear),
    )


def repair():
    listed, save = glob.glob, mx.savez
    update = nn.Module.update
    mask = nn.MultiHeadAttention.create_additive_causal_mask

    def numbers(path):
        return [int(n) for n in re.findall(r"\d+", path.rsplit("/", 1)[-1])]

    glob.glob = lambda pattern: sorted(listed(pattern), key=numbers)
    mx.savez = lambda file, **arrays: save(
        file, **{n: a for n, a in arrays.items() if not is_frequencies(n)}
    )
    nn.Module.update = lambda self, parameters, strict=True: update(
        self, without_frequencies(parameters), strict
    )
    nn.MultiHeadAttention.create_additive_causal_mask = staticmethod(
        lambda *arguments: FloatMask(mask(*arguments))
    )
    nn.QuantizedLinear.quantize_module = staticmethod(quantize_linear)


def in_float32(model):
    def widen(array):
        floating = mx.issubdtype(array.dtype, mx.floating)
        return array.astype(mx.float32) if floating else array

    model.update(tree_map(widen, model.parameters()))
    return model


def spoken(model, ids, steps):
    """What the script's own loop generates, likeliest tokens."""
    tokens = model.generate(mx.array([ids]), 0)
    return [next(tokens).item() for _ in range(steps)]


def margins_of(model, ids, tokens):
    """By how much each of `tokens` beats the likeliest other; negative if it
    does not."""
    logits = model(mx.array([ids + tokens[:-1]]))[0, len(ids) - 1 :]
    margins = []
    for row, token in zip(logits.tolist(), tokens):
        others = row[:token] + row[token + 1 :]
        margins.append(round(row[token] - max(others), 6))
    return margins


def ask(model_path):
    questions = json.load(sys.stdin)
    loaded, _ = importlib.import_module("llama").load_model(model_path)
    prompts, steps = questions["prompts"], questions["steps"]
    if questions["float32"]:
        loaded = in_float32(loaded)
    tokens = [spoken(loaded, ids, steps) for ids in prompts]
    single = in_float32(loaded)
    answers = {
        "tokens": tokens,
        "margins": [margins_of(single, i, t) for i, t in zip(prompts, tokens)],
        "logits": [
            single(mx.array([ids]))[0].tolist() for ids in questions["texts"]
        ],
    }
    # The loader speaks, too; what comes after its lines is the answer.
    print("\n" + json.dumps(answers))


def main():
    folder, mode, script, *arguments = sys.argv[1:]
    mx.set_default_device(mx.cpu)
    sys.path[0] = folder
    if mode == "repaired":
        repair()
    if script == "ask":
        ask(*arguments)
    else:
        sys.argv = [script, *arguments]
        runpy.run_path(f"{folder}/{script}", run_name="__main__")


if __name__ == "__main__":
    main()
