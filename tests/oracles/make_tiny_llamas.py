#!/usr/bin/env python3
"""Makes tiny random Llama checkpoints and PyTorch's answers about them.

For every case of tiny_cases.py this writes a Hugging Face folder and, beside
the weights, answers.json: greedy tokens, logits and likelihoods that
transformers' LlamaForCausalLM computes in float32 from the files as they were
stored. Needs torch and transformers.

    make_tiny_llamas.py                              # refills tests/data/tiny
    make_tiny_llamas.py --more 30 7 --out some/dir   # 30 random ones, seed 7
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import safetensors.torch
import torch
from tiny_cases import CASES, random_case
from torch_answers import (
    STEPS,
    ask,
    deal,
    draw_until_clear,
    draw_weights,
    quiet,
    read_folder,
    tell,
    write_config,
    write_json,
)
from transformers import LlamaConfig, LlamaForCausalLM


def write_folder(folder, model, case):
    """Writes the checkpoint in the type, files and spelling of its case."""
    dtype = getattr(torch, case.dtype)
    # A tied lm_head is the embedding once more, and is not stored.
    tensors = {
        name: parameter.detach().to(dtype).contiguous()
        for name, parameter in model.named_parameters()
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
    output = read_folder(folder, torch.float32).generate(
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
        model = LlamaForCausalLM(LlamaConfig(**case.config))
        draw_weights(model, generator, case.embed_std)
        write_folder(folder, model, case)
        answers, clear = ask(
            read_folder(folder, torch.float32),
            read_folder(folder, torch.float64),
            generator,
        )
        if not (clear or case.any_draw):
            return None
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
    cases = CASES
    if args.more:
        cases = [random_case(i, args.more[1]) for i in range(args.more[0])]
    quiet()
    for case in cases:
        if not args.only or case.name in args.only:
            tell(case.name, make(case, args.out or default_out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
