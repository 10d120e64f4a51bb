#!/usr/bin/env python3
"""Compares llamlx with PyTorch on the tiny checkpoints of tests/data/tiny.

Every checkpoint is run from its Hugging Face folder and from the folder that
`llamlx convert` makes of it. Greedy tokens must be equal, likelihoods and
logits near. Needs the standard library alone.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import tempfile
from pathlib import Path

from program import Program, Report, read_json


def tolerance(answers):
    """How far another correct float32 program may be from PyTorch's.

    Every logit of the stored checkpoints is within 2e-5 in float32 of its
    value in float64 (make_tiny.py refuses others; random ones say how
    far they are). Another program sums in another order and rounds angles and
    exponentials its own way, each an error of the same size; five of them
    leave room. A mean of likelihoods, each a difference of two such numbers,
    errs no more.
    """
    return 5 * max(2e-5, answers["float32_error"])


def tensors_of(folder):
    """Name -> (dtype, shape, bytes) of all safetensors files of a folder."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                begin, end = (start + n for n in entry["data_offsets"])
                value = (entry["dtype"], entry["shape"], data[begin:end])
                tensors[name] = value
    return tensors


def check_conversion(report, name, source, converted):
    """Without options a conversion keeps every value as it is."""
    before, after = tensors_of(source), tensors_of(converted)
    used = {n for n in before if not n.endswith("inv_freq")}
    report.equal(f"{name}: tensor names", sorted(after), sorted(used))
    changed = [n for n in used & set(after) if before[n] != after[n]]
    report.equal(f"{name}: tensors that changed", changed, [])


def check_generations(report, name, program, model, generations):
    for i, wanted in enumerate(generations):
        got = program.generate(
            model,
            len(wanted["tokens"]),
            "--ignore-eos",
            ids=wanted["prompt_ids"],
        )
        label = f"{name}: generation {i}"
        report.greedy(label, got["tokens"], wanted["tokens"], wanted["margins"])
        report.equal(f"{label}, why it ended", got["finish_reason"], "length")
        report.equal(
            f"{label}, prompt ids", got["prompt_ids"], wanted["prompt_ids"]
        )


def check_stop(report, name, program, model, answers):
    """A generation that reaches an end-of-sequence token."""
    wanted = answers.get("stop")
    if not wanted:
        return
    got = program.generate(model, 16, ids=wanted["prompt_ids"])
    report.equal(
        f"{name}: tokens before the stop", got["tokens"], wanted["tokens"]
    )
    report.equal(
        f"{name}: why it stopped", got["finish_reason"], wanted["finish_reason"]
    )


def check_nll(report, name, program, model, answers):
    for i, wanted in enumerate(answers["nll"]):
        got = program.perplexity(model, ids=wanted["ids"])
        report.near(
            f"{name}: mean NLL {i}",
            got["mean_nll"],
            wanted["mean_nll"],
            tolerance(answers),
        )
        report.equal(
            f"{name}: tokens scored {i}", got["tokens"], len(wanted["ids"]) - 1
        )


def check_logits(report, name, program, model, answers, scratch):
    if not program.gives_logits:
        return
    wanted = answers["last_logits"]
    shape, values = program.logits(model, wanted["ids"], scratch)
    vocab = len(wanted["logits"])
    report.equal(f"{name}: shape of logits", shape, (len(wanted["ids"]), vocab))
    report.near_all(
        f"{name}: last logits",
        values[-vocab:],
        wanted["logits"],
        tolerance(answers),
    )


def check_folder(report, program, source, scratch):
    answers = read_json(source / "answers.json")
    name, longest = source.name, answers["generations"][-1:]
    converted = Path(scratch) / "converted"

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

    report.attempt(f"{name}, as it is", as_it_is)
    report.attempt(f"{name}, converted", when_converted)


def main():
    data = Path(__file__).resolve().parent.parent / "data" / "tiny"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="the llamlx program")
    parser.add_argument("--logits", type=Path, help="the llamlx_logits program")
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these alone"
    )
    args = parser.parse_args()
    program, report = Program(args.program, args.logits), Report()
    folders = sorted(path.parent for path in args.data.glob("*/answers.json"))
    folders = [f for f in folders if not args.only or f.name in args.only]

    def check(folder):
        with tempfile.TemporaryDirectory() as scratch:
            check_folder(report, program, folder, scratch)

    # Threads wait for the program; each folder has a scratch folder of its own.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, folders))
    print(f"{len(folders)} checkpoints: ", end="")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
