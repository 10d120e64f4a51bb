#!/usr/bin/env python3
"""Makes tiny random checkpoints and PyTorch's answers about them.

For every case of tiny_cases.py, tiny_families.py and tiny_experts.py this
writes a Hugging Face folder and, beside the weights, answers.json: greedy
tokens, logits and likelihoods that transformers computes in float32 from the
files as they were stored. For those of tiny_packed.py it writes an MLX folder, and transformers
answers from one that has the same values unpacked. Needs torch, transformers
and mlx.

Each greedy token comes from a whole forward pass without a cache. Where
positions turn as the length asks ("dynamic") that is not what a cached run
gives, since cached keys keep the turn they had: there the tokens are those of
transformers' generate(), each time with a model that has seen nothing else (it
remembers the longest sequence).

    make_tiny.py                              # refills tests/data/tiny
    make_tiny.py --more 30 7 --out some/dir   # 30 random ones, seed 7
"""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from tiny_cases import LLAMAS
from tiny_experts import EXPERTS, stored
from tiny_families import FAMILIES
from tiny_packed import PACKED, pack, write_packed
from tiny_random import random_case
from torch_answers import (
    STEPS,
    closeness,
    conclude,
    deal,
    draw_until_clear,
    draw_weights,
    greedy,
    logits_of,
    mean_nll,
    quiet,
    random_ids,
    tell,
    write_config,
    write_json,
)
from transformers import AutoConfig, AutoModelForCausalLM


def write_folder(folder, model, case):
    """Writes the checkpoint in the type, files and spelling of its case."""
    dtype = getattr(torch, case.dtype)
    # A tied lm_head is the embedding once more, and is not stored.
    tensors = {
        name: values.to(dtype).contiguous()
        for name, values in stored(model)
    }
    if case.inv_freq:
        inv_freq = model.model.rotary_emb.inv_freq.detach().to(torch.float32)
        for layer in range(model.config.num_hidden_layers):
            name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
            tensors[name] = inv_freq.clone()
    files, index = deal(
        tensors,
        case.shards,
        "model.safetensors",
        "model-{:05}-of-{:05}.safetensors",
    )
    for file, names in files.items():
        part = {name: tensors[name] for name in names}
        safetensors.torch.save_file(part, folder / file, {"format": "pt"})
    if index:
        write_json(folder / "model.safetensors.index.json", index)
    write_config(folder, model, case.dtype, case.edits)


def read_folder(folder, case, dtype):
    """The model of a folder, whatever its config calls itself."""
    config = AutoConfig.from_pretrained(folder)
    if config.model_type != case.model_type:
        keys = config.to_dict()
        keys.pop("model_type")
        config = AutoConfig.for_model(case.model_type, **keys)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        attn_implementation="eager",
        experts_implementation="eager",
    )
    return model.eval()


def cached_greedy(model, prompt_ids):
    """As greedy(), by generate(), with its cache."""
    model.generation_config.eos_token_id = None
    prompt = torch.tensor([prompt_ids])
    output = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=STEPS,
        do_sample=False,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    steps = [closeness(logits[0]) for logits in output.logits]
    tokens = [token for token, _ in steps]
    if output.sequences[0, len(prompt_ids) :].tolist() != tokens:
        raise SystemExit("generate() did not take the likeliest tokens")
    margins = [margin for _, margin in steps]
    return {"prompt_ids": prompt_ids, "tokens": tokens, "margins": margins}


def answer(folder, case, generator):
    """Asks both precisions. Returns (answers, are they usable)."""
    models = {}

    def ask(dtype, question, ids):
        if dtype not in models or case.dynamic:
            models[dtype] = read_folder(folder, case, dtype)
        return question(models[dtype], ids)

    config = AutoConfig.from_pretrained(folder)
    generations = [
        ask(
            torch.float32,
            cached_greedy if case.dynamic else greedy,
            random_ids(config, length, generator),
        )
        for length in case.prompt_lengths
    ]
    sequences, error = [], 0.0
    for length in case.nll_lengths:
        ids = random_ids(config, length, generator)
        logits = ask(torch.float32, logits_of, ids)
        exact = ask(torch.float64, logits_of, ids)
        error = max(error, (logits - exact).abs().max().item())
        scored = logits
        if case.dynamic:  # the last id is predicted, not read
            scored = ask(torch.float32, logits_of, ids[:-1])
        sequences.append({"ids": ids, "mean_nll": mean_nll(scored, ids)})
    return conclude(generations, sequences, logits, error)


def fresh_position(tokens, start):
    """The first index from `start` on whose token did not occur before it."""
    for i in range(start, len(tokens)):
        if tokens[i] not in tokens[:i]:
            return i
    return None


def add_eos(folder, case, answers):
    """Makes tokens of the longest prompt's answer end it, and asks
    transformers' own generate() where it stops. False: no token will do."""
    generation = answers["generations"][-1]
    tokens = generation["tokens"]
    early, late = fresh_position(tokens, 2), fresh_position(tokens, 5)
    if early is None or late is None or early == late:
        return False
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text(encoding="ascii"))
    if case.eos == "config":
        config["eos_token_id"] = tokens[late]
    else:
        # Obeying the config would stop too soon.
        config["eos_token_id"] = tokens[early]
        unused = next(
            i for i in range(3, config["vocab_size"]) if i not in tokens
        )
        write_json(
            folder / "generation_config.json",
            {"bos_token_id": 1, "eos_token_id": [unused, tokens[late]]},
        )
    write_json(config_path, config)
    prompt = torch.tensor([generation["prompt_ids"]])
    output = read_folder(folder, case, torch.float32).generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=STEPS,
        do_sample=False,
        pad_token_id=0,
    )
    generated = output[0, prompt.shape[1] :].tolist()
    if generated != tokens[: late + 1]:
        raise SystemExit(f"{case.name}: generate() disagrees with the answers")
    # What ends a generation is not part of its text.
    answers["stop"] = {
        "prompt_ids": generation["prompt_ids"],
        "tokens": tokens[:late],
        "finish_reason": "stop",
    }
    return True


def make(case, out):
    """Draws weights until the answers are clear, and keeps that folder."""
    folder = out / case.name

    def attempt(generator):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        config = AutoConfig.for_model(case.model_type, **case.config)
        model = AutoModelForCausalLM.from_config(config)
        draw_weights(model, generator, case.embed_std)
        packed = case.packing and pack(model, case)
        # Of values that are left by packing nothing is rounded off.
        write_folder(
            folder, model, replace(case, dtype="float32") if packed else case
        )
        answers, clear = answer(folder, case, generator)
        if not (clear or case.any_draw):
            return None
        if packed:
            write_packed(folder, *packed)
        if case.eos is None or add_eos(folder, case, answers):
            return answers
        return None

    answers = draw_until_clear(case.name, case.seed, attempt)
    write_json(folder / "answers.json", answers)
    return answers


def main():
    default_out = Path(__file__).resolve().parent.parent / "data" / "tiny"
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="default: tests/data/tiny")
    parser.add_argument(
        "--more",
        nargs=2,
        type=int,
        metavar=("N", "SEED"),
        help="N random configurations instead; needs --out",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="these cases alone",
    )
    args = parser.parse_args()
    if args.more and not args.out:
        parser.error(
            "--more needs --out: random cases do not belong in the tree"
        )
    cases = LLAMAS + FAMILIES + EXPERTS + PACKED
    if args.more:
        cases = [random_case(i, args.more[1]) for i in range(args.more[0])]
    quiet()
    for case in cases:
        if not args.only or case.name in args.only:
            tell(case.name, make(case, args.out or default_out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
