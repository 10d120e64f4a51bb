#!/usr/bin/env python3
"""Stores what PyTorch says about SmolLM2-135M-Instruct.

Reads the GGUF with the gguf package, runs transformers' LlamaForCausalLM on it
in float32, and writes tests/data/smollm2/answers.json. Run by hand; needs
torch, transformers, tokenizers and gguf.

    make_smollm2.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path

import torch
from make_tiny import mean_nll, write_json
from gguf_source import Gguf
from transformers import LlamaConfig, LlamaForCausalLM

STEPS = 40
# Text is stored after so many tokens, too, for shorter runs of the check.
TEXT_AFTER = (8, 16, 24, STEPS)
LOGITS_KEPT = 256

CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)

PROMPTS = {
    "seed": "A great hobby to have is",
    "story": "Once upon a time, in a village between two rivers,",
    "code": "def fibonacci(n):\n    ",
    "french": "La ville de Gen\u00e8ve se trouve au bord d'un lac. Elle",
    "numbers": "1, 2, 4, 8, 16, 32,",
    "list": "Three things to pack for a week in the mountains:\n\n1.",
    # Ends its answer within the steps.
    "chat": CHAT.format("What is the capital of Italy? Answer in one word."),
    "chat_unicode": CHAT.format(
        "Translate \u201cgood morning\u201d to \u65e5\u672c\u8a9e. \U0001f600"
    ),
}


def load_model(source, dtype):
    model = LlamaForCausalLM(LlamaConfig(**source.llama_config())).to(dtype)
    state = {
        name: torch.from_numpy(values.copy()).to(dtype)
        for name, values in source.tensors()
    }
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise SystemExit(f"missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def greedy(model, prompt_ids):
    tokens, margins, logits = [], [], None
    ids, past = torch.tensor([prompt_ids]), None
    for _ in range(STEPS):
        output = model(ids, past_key_values=past, use_cache=True)
        past, last = output.past_key_values, output.logits[0, -1]
        logits = last if logits is None else logits
        top = torch.topk(last, 2)
        margins.append(round((top.values[0] - top.values[1]).item(), 6))
        tokens.append(top.indices[0].item())
        ids = top.indices[:1].reshape(1, 1)
    return tokens, margins, logits


def answer_prompts(model, tokenizer, eos):
    answers = {}
    for name, prompt in PROMPTS.items():
        ids = tokenizer.encode(prompt).ids
        tokens, margins, logits = greedy(model, ids)
        answers[name] = {
            "prompt": prompt,
            "prompt_ids": ids,
            "tokens": tokens,
            "margins": margins,
            "text_after": {n: tokenizer.decode(tokens[:n]) for n in TEXT_AFTER},
            # Where a generation that heeds end-of-sequence tokens stops.
            "stops_after": tokens.index(eos) if eos in tokens else None,
            "first_logits": [
                round(value, 5) for value in logits[:LOGITS_KEPT].tolist()
            ],
        }
        print(
            f"{name}: {tokenizer.decode(tokens)!r}, least margin {min(margins)}"
        )
    return answers


@torch.no_grad()
def answer_text(source, single, tokenizer, text):
    ids = tokenizer.encode(text).ids
    double = load_model(source, torch.float64)
    logits = single(torch.tensor([ids])).logits[0]
    exact = double(torch.tensor([ids])).logits[0]
    return {
        "ids": ids,
        "mean_nll": mean_nll(logits, ids),
        "mean_nll_float64": mean_nll(exact, ids),
        "float32_error": (logits - exact).abs().max().item(),
    }


def main():
    data = Path(__file__).resolve().parent.parent / "data" / "smollm2"
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("gguf", type=Path)
    args = parser.parse_args()
    source = Gguf(args.gguf)
    tokenizer = source.smollm_tokenizer()
    model = load_model(source, torch.float32)
    eos = source["tokenizer.ggml.eos_token_id"]
    corpus = (data / "corpus.txt").read_bytes().decode()
    packages = ("torch", "transformers", "tokenizers", "gguf")
    answers = {
        "made_by": {name: metadata.version(name) for name in packages},
        "gguf_sha256": hashlib.sha256(args.gguf.read_bytes()).hexdigest(),
        "prompts": answer_prompts(model, tokenizer, eos),
        "text": answer_text(
            source, model, tokenizer, (data / "text.txt").read_bytes().decode()
        ),
        "corpus": {"ids": tokenizer.encode(corpus).ids},
    }
    write_json(data / "answers.json", answers)
    text = answers["text"]
    print(f"text: {len(text['ids'])} tokens, mean NLL {text['mean_nll']}")
    print(f"corpus: {len(answers['corpus']['ids'])} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
