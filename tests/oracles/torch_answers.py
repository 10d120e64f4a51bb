"""What the makers of checkpoints share: weights under which every part of a
model matters, and PyTorch's answers about them, drawn again until they are
clear. Needs torch and transformers."""

import argparse
import hashlib
import json
import re
from pathlib import Path

import torch
import transformers
from transformers import LlamaForCausalLM

STEPS = 16
PROMPT_LENGTHS = (1, 5, 12)
NLL_LENGTHS = (2, 40)
# Logits are spread this wide, so that the greedy choice is rarely close.
LOGIT_STD = 4.0
# Random weights are drawn until no greedy choice is closer than this, which may
# fall differently in correct arithmetic, ...
WIDE_MARGIN = 1e-2
# ... and float32 is this close to float64 in every logit. The checks allow
# several times this, so it is what makes their tolerance a derived one.
MAX_FLOAT32_ERROR = 2e-5
MAX_DRAWS = 60
# Pieces of the tokenizer in tests/data/sentencepiece that spell single bytes,
# and two controls: a model that seldom says them says text.
SILENT = [0, 1, *range(3, 259)]


def draw_weights(model, generator, embed_std=None):
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
                normal(parameter, embed_std or 1.0)
            else:
                normal(parameter, 1.5 / parameter.shape[-1] ** 0.5)


def deal(tensors, shards, single, many):
    """Deals the tensors out to `shards` files, in order of their names. One is
    called `single`, several by the format `many` of their place and number.
    Returns (file -> names, the index of several or None)."""
    names = sorted(tensors)
    if shards == 1:
        return {single: names}, None
    files = {
        many.format(i + 1, shards): names[i::shards] for i in range(shards)
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


def write_config(folder, model, dtype, edits=()):
    """Writes config.json as transformers does, then the edits (None removes a
    key)."""
    model.config.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = dtype
    for key, value in dict(edits).items():
        config.pop(key, None)
        if value is not None:
            config[key] = value
    write_json(path, config)


def read_folder(folder, dtype):
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
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


def greedy(model, prompt_ids, steps=STEPS):
    """Likeliest tokens, each from the whole sequence so far, and by how much
    each beat the next."""
    ids, margins = list(prompt_ids), []
    for _ in range(steps):
        token, margin = closeness(logits_of(model, ids)[-1])
        ids.append(token)
        margins.append(margin)
    tokens = ids[len(prompt_ids) :]
    return {"prompt_ids": prompt_ids, "tokens": tokens, "margins": margins}


def mean_nll(logits, ids):
    targets = torch.tensor(ids[1:])
    return torch.nn.functional.cross_entropy(
        logits[: len(targets)].double(), targets
    ).item()


def largest_difference(a, b):
    return (a.double() - b.double()).abs().max().item()


def random_ids(config, length, generator):
    return torch.randint(
        3, config.vocab_size, (length,), generator=generator
    ).tolist()


def ask(
    single,
    double,
    generator,
    nll_lengths=NLL_LENGTHS,
    max_error=MAX_FLOAT32_ERROR,
):
    """Asks the model in both precisions. Returns (answers, are they clear)."""
    config = single.config
    generations = [
        greedy(single, random_ids(config, length, generator))
        for length in PROMPT_LENGTHS
    ]
    sequences, error = [], 0.0
    for length in nll_lengths:
        ids = random_ids(config, length, generator)
        logits, exact = logits_of(single, ids), logits_of(double, ids)
        error = max(error, (logits - exact).abs().max().item())
        sequences.append({"ids": ids, "mean_nll": mean_nll(logits, ids)})
    return conclude(generations, sequences, logits, error, max_error)


def conclude(
    generations, sequences, logits, error, max_error=MAX_FLOAT32_ERROR
):
    """What answers.json holds; `logits` are of the last sequence, `error` is
    float32's largest. Returns (answers, are they clear)."""
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
    # A model that repeats itself tests little.
    varied = max(len(set(g["tokens"])) for g in generations) >= STEPS // 2
    clear = (
        smallest_margin(answers) >= WIDE_MARGIN
        and varied
        and error <= max_error
    )
    return answers, clear


def smallest_margin(answers):
    return min(m for g in answers["generations"] for m in g["margins"])


def describe_tensors(tensors):
    """Name -> [type, shape, digest of the bytes], types as safetensors say."""
    types = {
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float32: "F32",
    }
    described = {}
    for name, tensor in sorted(tensors.items()):
        data = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        digest = hashlib.sha256(data).hexdigest()[:16]
        described[name] = [types[tensor.dtype], list(tensor.shape), digest]
    return described


def draw_until_clear(name, seed, attempt):
    """Calls `attempt` with one generator after another, until it returns
    answers and not None. Returns them, with the number of the draw."""
    for draw in range(MAX_DRAWS):
        generator = torch.Generator().manual_seed(seed * 1000 + draw)
        answers = attempt(generator)
        if answers:
            answers["draw"] = draw
            return answers
    raise SystemExit(f"{name}: no clear answers in {MAX_DRAWS} draws")


def quiet():
    """Keeps transformers' remarks and bars off the screen."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def tell(name, answers):
    print(
        f"{name}: draw {answers['draw']}, smallest margin "
        f"{smallest_margin(answers):.3f}, float32 error "
        f"{answers['float32_error']}",
        flush=True,
    )


def make_all(description, cases, make, data):
    """The program of a maker: `make(case, folder)` for every case, or those
    named. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=data)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these alone"
    )
    args = parser.parse_args()
    quiet()
    for case in cases:
        if not args.only or case.name in args.only:
            tell(case.name, make(case, args.out))
    return 0
