#!/usr/bin/env python3
"""Compares llamlx with PyTorch on a real model, SmolLM2-135M-Instruct.

Converts the GGUF without options, which keeps its blocks as they are, and
compares token ids, greedy tokens, text and likelihood, all in float32, with
tests/data/smollm2/answers.json. Needs the standard library alone.

    check_smollm2.py build/check/llamlx SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import concurrent.futures
import hashlib
import os
import sys
import tempfile
from pathlib import Path

from program import Program, Report, fail_usage, read_json

# PyTorch's own float32 mean over these 400 tokens is 2e-8 from its float64
# one, and a single logit up to 6e-5. A mean of n likelihoods with independent
# errors of a few times the latter errs by 1e-5; 1e-4 leaves room for errors
# that all fall on one side.
NLL_TOLERANCE = 1e-4
# A logit of PyTorch's errs by 6e-5; another order of sums, and positions as
# MLX rounds them, by a few times that.
LOGIT_TOLERANCE = 5e-4


def check_prompt(report, program, model, name, wanted, tokens):
    got = program.generate(model, tokens, "--ignore-eos", text=wanted["prompt"])
    report.equal(f"{name}: token ids", got["prompt_ids"], wanted["prompt_ids"])
    expected = wanted["tokens"][:tokens]
    report.greedy(name, got["tokens"], expected, wanted["margins"])
    report.equal(f"{name}: why it ended", got["finish_reason"], "length")
    if got["tokens"] == expected:
        text = wanted["text_after"][str(tokens)]
        report.equal(f"{name}: text", got["text"], text)


def check_stop(report, program, model, name, wanted):
    """Without --ignore-eos, which token ends the answer."""
    length = wanted["stops_after"]
    got = program.generate(model, length + 8, ids=wanted["prompt_ids"])
    expected = wanted["tokens"][:length]
    report.equal(f"{name}: tokens before the end", got["tokens"], expected)
    report.equal(f"{name}: why it ended", got["finish_reason"], "stop")


def check_first_logits(report, program, model, name, wanted, scratch):
    shape, values = program.logits(model, wanted["prompt_ids"], scratch)
    last = values[-shape[-1] :]
    expected = wanted["first_logits"]
    report.near_all(
        f"{name}: logits", last[: len(expected)], expected, LOGIT_TOLERANCE
    )


def check_corpus(report, program, model, data, wanted):
    text = (data / "corpus.txt").read_bytes().decode()
    got = program.generate(model, 0, text=text)
    report.equal("corpus: token ids", got["prompt_ids"], wanted["ids"])


def check_text(report, program, model, data, wanted):
    got = program.perplexity(model, text_file=data / "text.txt")
    report.near(
        "text: mean NLL", got["mean_nll"], wanted["mean_nll"], NLL_TOLERANCE
    )
    report.equal("text: tokens scored", got["tokens"], len(wanted["ids"]) - 1)


def parts(report, program, args, data, scratch):
    """Yields (name, function, its arguments) of every part, longest first."""
    answers = read_json(data / "answers.json")
    model = Path(scratch) / "smollm2"
    program.convert(args.gguf, model)
    common = (report, program, model)
    yield "text", check_text, (*common, data, answers["text"])
    for name, wanted in answers["prompts"].items():
        yield name, check_prompt, (*common, name, wanted, args.tokens)
        if wanted["stops_after"] is not None:
            yield name, check_stop, (*common, name, wanted)
    yield "corpus", check_corpus, (*common, data, answers["corpus"])
    if program.gives_logits:
        name, wanted = next(iter(answers["prompts"].items()))
        yield name, check_first_logits, (*common, name, wanted, scratch)


def check(report, program, args, data, scratch):
    # Threads wait for the program, which computes on one core.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, function, arguments in parts(
            report, program, args, data, scratch
        ):
            pool.submit(
                report.attempt, name, lambda f=function, a=arguments: f(*a)
            )


def main():
    data = Path(__file__).resolve().parent.parent / "data" / "smollm2"
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("program", type=Path, help="the llamlx program")
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--logits", type=Path, help="the llamlx_logits program")
    parser.add_argument(
        "--tokens",
        type=int,
        default=24,
        choices=(8, 16, 24, 40),
        help="how many to generate for each prompt (default: 24)",
    )
    args = parser.parse_args()
    digest = hashlib.sha256(args.gguf.read_bytes()).hexdigest()
    if digest != read_json(data / "answers.json")["gguf_sha256"]:
        fail_usage(f"{args.gguf} is not the file the answers were made from")
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        program = Program(args.program, args.logits)
        report.attempt(
            "smollm2", lambda: check(report, program, args, data, scratch)
        )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
