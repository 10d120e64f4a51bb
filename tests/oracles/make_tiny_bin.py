#!/usr/bin/env python3
"""Makes tiny random Hugging Face checkpoints of pytorch_model.bin, with
PyTorch's answers about them.

The cases vary how torch lays tensors down: which of its two formats, how many
files, what shares a storage, what is a view. The answers come from the folders
as transformers reads them. Needs torch and transformers.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from meta_cases import TEXT_VOCAB
from tiny_cases import shape
from torch_answers import (
    SILENT,
    ask,
    deal,
    describe_tensors,
    draw_until_clear,
    draw_weights,
    make_all,
    read_folder,
    write_config,
    write_json,
)
from transformers import LlamaConfig, LlamaForCausalLM

TIED = {"tie_word_embeddings": True}
SMALL = shape(32, 64, 2, 1)
SPEAKING = shape(32, 64, 4, 2, vocab=TEXT_VOCAB)


def as_they_are(tensors):
    return tensors


def as_parameters(tensors):
    """As a training loop hands them over."""
    return {n: torch.nn.Parameter(t) for n, t in tensors.items()}


def as_views_of_one(tensors):
    """One storage after another tensor's, with a gap before each."""
    gap = 3
    flat = torch.zeros(
        sum(gap + t.numel() for t in tensors.values()),
        dtype=next(iter(tensors.values())).dtype,
    )
    views, start = {}, 0
    for name, tensor in tensors.items():
        start += gap
        view = flat[start : start + tensor.numel()].view(tensor.shape)
        views[name] = view.copy_(tensor)
        start += tensor.numel()
    return views


def as_strided_views(tensors):
    """Matrices as transposed views, vectors as every second value of more."""
    views = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            views[name] = tensor.t().contiguous().t()
        else:
            views[name] = torch.stack([tensor, -tensor], dim=1)[:, 0]
    return views


@dataclass(frozen=True)
class BinCase:
    """One checkpoint: what is random follows from `seed`."""

    name: str
    seed: int
    config: dict
    dtype: str = "float16"
    shards: int = 1
    laid: object = as_they_are
    older_stream: bool = False
    # The dictionary of a module, with its versions, and rotary frequencies.
    whole_state: bool = False

    @property
    def speaks(self):
        return self.config["vocab_size"] == TEXT_VOCAB


CASES = [
    BinCase("single_float16", 1, SPEAKING, whole_state=True),
    BinCase("single_bfloat16", 2, SMALL, "bfloat16"),
    BinCase("single_float32", 3, SMALL, "float32"),
    BinCase("sharded_float16", 4, SPEAKING, shards=3),
    BinCase("sharded_bfloat16", 5, SMALL, "bfloat16", shards=11),
    BinCase("older_stream", 6, SMALL, "bfloat16", older_stream=True),
    BinCase("older_sharded", 7, SMALL, shards=2, older_stream=True),
    BinCase("tied_one_storage", 8, SMALL | TIED, whole_state=True),
    BinCase("tied_older_stream", 9, SMALL | TIED, older_stream=True),
    BinCase("views_of_one", 10, SMALL, laid=as_views_of_one),
    BinCase(
        "views_of_one_older_stream",
        11,
        SMALL,
        "bfloat16",
        laid=as_views_of_one,
        older_stream=True,
    ),
    BinCase("strided_views", 12, SMALL, "bfloat16", laid=as_strided_views),
    BinCase("parameters", 13, SMALL, laid=as_parameters),
]


def tensors_of(model, case):
    """What is saved: the tied head is there, and is the embedding's storage."""
    state = model.to(getattr(torch, case.dtype)).state_dict()
    if case.whole_state:
        inv_freq = model.model.rotary_emb.inv_freq.detach().float()
        for layer in range(model.config.num_hidden_layers):
            name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
            state[name] = inv_freq.clone()
        return state
    return case.laid(dict(state))


def write_folder(folder, model, case):
    """Writes the checkpoint. Returns its parameters."""
    tensors = tensors_of(model, case)
    files, index = deal(
        tensors,
        case.shards,
        "pytorch_model.bin",
        "pytorch_model-{:05}-of-{:05}.bin",
    )
    for file, names in files.items():
        # The dictionary of a module is saved as it is, attributes and all.
        part = tensors if case.shards == 1 else {n: tensors[n] for n in names}
        torch.save(
            part,
            folder / file,
            _use_new_zipfile_serialization=not case.older_stream,
        )
    if index:
        write_json(folder / "pytorch_model.bin.index.json", index)
    write_config(folder, model, case.dtype)
    return {n: t.detach() for n, t in tensors.items() if "inv_freq" not in n}


def make(case, out):
    """Draws weights until the answers are clear, and keeps that folder."""
    folder = out / case.name

    def attempt(generator):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model = LlamaForCausalLM(LlamaConfig(**case.config))
        draw_weights(model, generator)
        if case.speaks:
            with torch.no_grad():
                model.lm_head.weight[SILENT] *= 0.05
        tensors = write_folder(folder, model, case)
        answers, clear = ask(
            read_folder(folder, torch.float32),
            read_folder(folder, torch.float64),
            generator,
        )
        answers["tensors"] = describe_tensors(tensors)
        answers["speaks"] = case.speaks
        return answers if clear else None

    answers = draw_until_clear(case.name, case.seed, attempt)
    write_json(folder / "answers.json", answers)
    return answers


def main():
    data = Path(__file__).resolve().parent.parent / "data" / "bin"
    return make_all(__doc__, CASES, make, data)


if __name__ == "__main__":
    sys.exit(main())
