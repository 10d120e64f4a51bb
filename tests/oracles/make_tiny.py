#!/usr/bin/env python3
"""Makes tiny random checkpoints and PyTorch's answers about them.

For every case of tiny_cases.py and tiny_families.py this writes a Hugging Face
folder and, beside the weights, answers.json: greedy tokens, logits and
likelihoods that transformers computes in float32 from the files as they were
stored. Needs torch and transformers.

Each greedy token comes from a whole forward pass without a cache. Where
positions turn as the length asks ("dynamic") that is not what a cached run
gives, since cached keys keep the turn they had: there the tokens are those of
transformers' generate(), each time with a model that has seen nothing else (it
remembers the longest sequence).

    make_tiny_llamas.py                              # refills tests/data/tiny
    make_tiny_llamas.py --more 30 7 --out some/dir   # 30 random ones, seed 7
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import safetensors.torch
import torch
import transformers
from tiny_cases import LLAMAS
from tiny_families import FAMILIES
from tiny_random import random_case
from transformers import AutoConfig, AutoModelForCausalLM

STEPS = 16
# Logits are spread this wide, so that the greedy choice is rarely close.
LOGIT_STD = 4.0
# Random weights are drawn until no greedy choice is closer than this, which may
# fall differently in correct arithmetic, ...
WIDE_MARGIN = 1e-2
# ... and float32 is this close to float64 in every logit. The checks allow
# several times this, so it is what makes their tolerance a derived one.
MAX_FLOAT32_ERROR = 2e-5
MAX_DRAWS = 60


def draw_weights(model, case, generator):
    """Fills the parameters with values under which every part matters."""

    def normal(parameter, std):
        parameter.normal_(0.0, std, generator=generator)

    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(".bias"):
                normal(parameter, 0.3)
            elif "lm_head" in name or ("embed_tokens" in name and tied):
                normal(parameter, LOGIT_STD / parameter.shape[1] ** 0.5)
            elif "embed_tokens" in name:
                normal(parameter, case.embed_std or 1.0)
            else:
                normal(parameter, 1.5 / parameter.shape[1] ** 0.5)


def split(tensors, shards):
    """Deals the tensors out to `shards` files, in order of their names."""
    names = sorted(tensors)
    if shards == 1:
        return {"model.safetensors": names}, None
    files = {
        f"model-{i + 1:05}-of-{shards:05}.safetensors": names[i::shards]
        for i in range(shards)
    }
    weight_map = {name: file for file, part in files.items() for name in part}
    size = sum(t.nbytes for t in tensors.values())
    index = {
        "metadata": {"total_size": size},
        "weight_map": dict(sorted(weight_map.items())),
    }
    return files, index


def write_json(path, value):
    """Writes ASCII JSON, a list of numbers on one line."""
    text = json.dumps(value, indent=1)
    text = re.sub(
        r"\[[-+.eE\d,\s]+\]", lambda found: " ".join(found[0].split()), text
    )
    path.write_text(text + "\n", encoding="ascii")


def write_config(folder, model, case):
    """Writes config.json as transformers does, then the case's edits."""
    model.config.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = case.dtype
    for key, value in case.edits.items():
        config.pop(key, None)
        if value is not None:
            config[key] = value
    write_json(path, config)


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
    files, index = split(tensors, case.shards)
    for file, names in files.items():
        part = {name: tensors[name] for name in names}
        safetensors.torch.save_file(part, folder / file, {"format": "pt"})
    if index:
        write_json(folder / "model.safetensors.index.json", index)
    write_config(folder, model, case)


def read_folder(folder, case, dtype):
    """The model of a folder, whatever its config calls itself."""
    config = AutoConfig.from_pretrained(folder)
    if config.model_type != case.model_type:
        keys = config.to_dict()
        keys.pop("model_type")
        config = AutoConfig.for_model(case.model_type, **keys)
    model = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=dtype, attn_implementation="eager"
    )
    return model.eval()


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0]


def closeness(logits):
    """The likeliest token, and by how much it beats the next."""
    top = torch.topk(logits, 2)
    margin = round((top.values[0] - top.values[1]).item(), 6)
    return top.indices[0].item(), margin


def greedy(model, prompt_ids):
    """Likeliest tokens, each from the whole sequence so far."""
    ids, margins = list(prompt_ids), []
    for _ in range(STEPS):
        token, margin = closeness(logits_of(model, ids)[-1])
        ids.append(token)
        margins.append(margin)
    tokens = ids[len(prompt_ids) :]
    return {"prompt_ids": prompt_ids, "tokens": tokens, "margins": margins}


def cached_greedy(model, prompt_ids):
    """The same by generate(), with its cache."""
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


def mean_nll(logits, ids):
    targets = torch.tensor(ids[1:])
    return torch.nn.functional.cross_entropy(
        logits[: len(targets)].double(), targets
    ).item()


def random_ids(config, length, generator):
    return torch.randint(
        3, config.vocab_size, (length,), generator=generator
    ).tolist()


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
    last = [round(value, 6) for value in logits[-1].tolist()]
    answers = {
        "made_by": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "draw": None,
        "float32_error": float(f"{error:.3g}"),
        "generations": generations,
        "nll": sequences,
        "last_logits": {"ids": sequences[-1]["ids"], "logits": last},
    }
    margins = [m for g in generations for m in g["margins"]]
    # A model that repeats itself tests little.
    varied = max(len(set(g["tokens"])) for g in generations) >= STEPS // 2
    usable = (
        min(margins) >= WIDE_MARGIN and varied and error <= MAX_FLOAT32_ERROR
    )
    return answers, usable


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
    for draw in range(MAX_DRAWS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        generator = torch.Generator().manual_seed(case.seed * 1000 + draw)
        config = AutoConfig.for_model(case.model_type, **case.config)
        model = AutoModelForCausalLM.from_config(config)
        draw_weights(model, case, generator)
        write_folder(folder, model, case)
        answers, usable = answer(folder, case, generator)
        if not (usable or case.any_draw):
            continue
        if case.eos is None or add_eos(folder, case, answers):
            answers["draw"] = draw
            write_json(folder / "answers.json", answers)
            return answers
    raise SystemExit(f"{case.name}: no clear answers in {MAX_DRAWS} draws")


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
    cases = LLAMAS + FAMILIES
    if args.more:
        cases = [random_case(i, args.more[1]) for i in range(args.more[0])]
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for case in cases:
        if args.only and case.name not in args.only:
            continue
        answers = make(case, args.out or default_out)
        margins = [m for g in answers["generations"] for m in g["margins"]]
        print(
            f"{case.name}: draw {answers['draw']}, smallest margin "
            f"{min(margins):.3f}, float32 error {answers['float32_error']}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
