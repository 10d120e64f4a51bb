"""What the checks with stored answers share: running every checkpoint of a
folder, and comparing tokens, likelihoods and logits. Standard library alone."""

import argparse
import concurrent.futures
import json
import os
import re
import tempfile
from pathlib import Path

from program import Program, Report

DATA = Path(__file__).resolve().parent.parent / "data"
TOKENIZER = DATA / "sentencepiece" / "tokenizer.model"


def mask_times(screen):
    return re.sub(r"\d+\.\d{3} s\b", "#.### s", screen)


def tolerance(answers):
    """How far another correct float32 program may be from PyTorch's.

    Every logit of the stored checkpoints is within 2e-5 in float32 of its
    value in float64 (their makers refuse others, or the answers say how far it
    is). Another program sums in another order and rounds angles and
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


def with_tokenizer(folder, scratch, name=None):
    """A folder of links to a checkpoint's files and to the shared tokenizer,
    called as the checkpoint's own unless it is given a name."""
    linked = scratch / (name or folder.name)
    linked.mkdir()
    # Backwards: shards must not be taken in the order in which a disk happens
    # to list them.
    for path in sorted([*folder.iterdir(), TOKENIZER], reverse=True):
        (linked / path.name).symlink_to(path)
    return linked


def run_checks(description, check_folder, folders):
    """The program of a check: `check_folder(report, program, folder, scratch)`
    for every folder of `folders` that has answers. Returns the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("program", type=Path, help="the llamlx program")
    parser.add_argument("--logits", type=Path, help="the llamlx_logits program")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=folders,
        help="folders of checkpoints",
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these alone"
    )
    args = parser.parse_args()
    program, report = Program(args.program, args.logits), Report()
    found = sorted(
        path.parent
        for data in args.data
        for path in data.glob("*/answers.json")
    )
    found = [f for f in found if not args.only or f.name in args.only]

    def check(folder):
        with tempfile.TemporaryDirectory() as scratch:
            check_folder(report, program, folder, Path(scratch))

    # Threads wait for the program; each folder has a scratch folder of its own.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, found))
    print(f"{len(found)} checkpoints: ", end="")
    return report.finish()
