#!/usr/bin/env python3
"""Compares llamlx with PyTorch on the checkpoints that torch.save wrote: Meta's
files of tests/data/meta, and Hugging Face's of tests/data/bin.

Every checkpoint is run as it is, from the safetensors that `llamlx convert`
makes of it, and from its npz. Greedy tokens must be equal, likelihoods and
logits near; the safetensors must hold the very bits, rows in Hugging Face's
order. Needs the standard library alone.
"""

import hashlib
import sys

from program import read_json
from stored_answers import (
    DATA,
    TOKENIZER,
    check_generations,
    check_logits,
    check_nll,
    run_checks,
    tensors_of,
    with_tokenizer,
)

# A head that is the embedding once more may be left out.
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def check_tensors(report, name, folder, wanted):
    """Without options a conversion keeps every value as it is."""
    got = {
        tensor: [dtype, shape, hashlib.sha256(data).hexdigest()[:16]]
        for tensor, (dtype, shape, data) in tensors_of(folder).items()
    }
    if wanted.get(HEAD) == wanted[EMBEDDING] and HEAD not in got:
        wanted = {n: w for n, w in wanted.items() if n != HEAD}
    report.equal(f"{name}: tensor names", sorted(got), sorted(wanted))
    for tensor in sorted(set(got) & set(wanted)):
        report.equal(f"{name}: {tensor}", got[tensor], wanted[tensor])


def check_tokenizer(report, name, folder):
    path = folder / "tokenizer.model"
    same = path.is_file() and path.read_bytes() == TOKENIZER.read_bytes()
    report.expect(f"{name}: tokenizer.model", same, "absent, or changed")


def check_folder(report, program, source, scratch):
    answers = read_json(source / "answers.json")
    name, longest = source.name, answers["generations"][-1:]
    if answers["speaks"]:
        source = with_tokenizer(source, scratch)

    def as_it_is():
        label = f"{name}, as it is"
        check_generations(
            report, label, program, source, answers["generations"]
        )
        check_nll(report, label, program, source, answers)
        check_logits(report, label, program, source, answers, scratch)

    def converted(label, *options):
        folder = scratch / "-".join(["mlx_model", *options])
        if not answers["speaks"]:
            options += ("--no-tokenizer",)
        program.convert(source, folder, *options)
        check_generations(report, label, program, folder, longest)
        check_nll(report, label, program, folder, answers)
        if answers["speaks"]:
            check_tokenizer(report, label, folder)
        return folder

    def to_safetensors():
        label = f"{name}, converted"
        folder = converted(label)
        check_tensors(report, label, folder, answers["tensors"])

    def to_npz():
        label = f"{name}, converted to npz"
        folder = converted(label, "--format", "npz")
        files = [path.name for path in folder.glob("*.npz")]
        report.equal(f"{label}: files", files, ["weights.npz"])

    report.attempt(f"{name}, as it is", as_it_is)
    report.attempt(f"{name}, converted", to_safetensors)
    report.attempt(f"{name}, converted to npz", to_npz)


if __name__ == "__main__":
    folders = [DATA / "meta", DATA / "bin"]
    sys.exit(run_checks(__doc__, check_folder, folders))
