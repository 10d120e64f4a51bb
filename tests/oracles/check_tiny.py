#!/usr/bin/env python3
"""Compares llamlx with PyTorch on the tiny checkpoints of tests/data/tiny.

Every checkpoint is run from its Hugging Face folder and from the folders that
`llamlx convert` makes of it, safetensors and npz. Greedy tokens must be equal,
likelihoods and logits near. Needs the standard library alone.
"""

import sys

from program import read_json
from stored_answers import (
    DATA,
    check_generations,
    check_logits,
    check_nll,
    check_stop,
    run_checks,
    tensors_of,
)
from tiny_experts import stack


def check_conversion(report, name, source, converted):
    """Without options a conversion keeps every value as it is."""
    before, after = stack(tensors_of(source)), tensors_of(converted)
    used = {n for n in before if not n.endswith("inv_freq")}
    report.equal(f"{name}: tensor names", sorted(after), sorted(used))
    changed = [n for n in used & set(after) if before[n] != after[n]]
    report.equal(f"{name}: tensors that changed", changed, [])


def check_refusal(report, name, program, source, folder):
    """The words of npz have none for experts."""
    try:
        program.convert(source, folder, "--format", "npz")
        said = "nothing"
    except RuntimeError as error:
        said = str(error).strip()
    refused = "have no names in the format npz; choose the format safetensors"
    report.equal(f"{name}: refused", said[-len(refused) :], refused)
    report.equal(f"{name}: nothing is written", folder.exists(), False)


def check_folder(report, program, source, scratch):
    answers = read_json(source / "answers.json")
    name, longest = source.name, answers["generations"][-1:]
    converted = scratch / "converted"

    def as_it_is():
        label = f"{name}, as it is"
        check_generations(
            report, label, program, source, answers["generations"]
        )
        check_stop(report, label, program, source, answers)
        check_nll(report, label, program, source, answers)
        check_logits(report, label, program, source, answers, scratch)

    def when_converted():
        label = f"{name}, converted"
        program.convert(source, converted)
        check_conversion(report, label, source, converted)
        check_generations(report, label, program, converted, longest)
        check_stop(report, label, program, converted, answers)
        check_nll(report, label, program, converted, answers)

    def when_converted_to_npz():
        label = f"{name}, converted to npz"
        folder = scratch / "npz"
        if any(".experts." in tensor for tensor in tensors_of(source)):
            check_refusal(report, label, program, source, folder)
            return
        program.convert(source, folder, "--format", "npz")
        check_generations(report, label, program, folder, longest)
        check_stop(report, label, program, folder, answers)
        check_nll(report, label, program, folder, answers)

    report.attempt(f"{name}, as it is", as_it_is)
    report.attempt(f"{name}, converted", when_converted)
    report.attempt(f"{name}, converted to npz", when_converted_to_npz)


if __name__ == "__main__":
    sys.exit(run_checks(__doc__, check_folder, [DATA / "tiny"]))
