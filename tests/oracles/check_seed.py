#!/usr/bin/env python3
"""Compares llamlx with the scripts convert.py and llama.py of mlx-examples, by
what they wrote and printed (tests/data/seed, made by make_seed.py).

For each folder: `llamlx convert --compat` writes the same config.json, byte for
byte, and the same tensors, bit for bit, and prints the same lines; llamlx runs
the script's own folder, with the same greedy tokens and likelihoods; and
`llamlx generate --compat seed` prints the script's screens, times apart. Needs
the standard library alone.
"""

import shutil
import sys

from npz_files import read_npz
from program import read_json
from stored_answers import (
    DATA,
    TOKENIZER,
    check_generations,
    check_nll,
    mask_times,
    run_checks,
    with_tokenizer,
)

FEW_SHOT = DATA / "seed" / "few_shot.txt"
FILES = ["config.json", "tokenizer.model", "weights.npz"]


def check_lines(report, name, got, wanted):
    """Names the first line that differs."""
    got, wanted = got.split("\n"), wanted.split("\n")
    for i, (a, b) in enumerate(zip(got, wanted)):
        if a != b:
            report.equal(f"{name}, line {i + 1}", a, b)
            return
    report.equal(f"{name}: lines", len(got), len(wanted))


def check_tensors(report, name, folder, stored):
    got, wanted = read_npz(folder / FILES[2]), read_npz(stored / FILES[2])
    report.equal(f"{name}: tensor names", sorted(got), sorted(wanted))
    for tensor in sorted(set(got) & set(wanted)):
        label = f"{name}: {tensor}"
        report.equal(f"{label}, type", got[tensor][0], wanted[tensor][0])
        report.equal(f"{label}, shape", got[tensor][1], wanted[tensor][1])
        same = got[tensor][2] == wanted[tensor][2]
        report.expect(f"{label}, bits", same, "they differ")


def check_conversion(report, name, program, stored, answers, scratch):
    source = with_tokenizer(DATA / answers["source"], scratch)
    folder = scratch / "converted"
    screen = program.run(
        "convert",
        "--torch-path",
        source,
        "--mlx-path",
        folder,
        "--compat",
        answers["compat"],
        *answers["options"],
    )
    check_lines(report, f"{name}: screen", screen, answers["convert_screen"])
    files = sorted(path.name for path in folder.iterdir())
    report.equal(f"{name}: files", files, FILES)
    for file, path in (FILES[0], stored / FILES[0]), (FILES[1], TOKENIZER):
        got, wanted = (folder / file).read_bytes(), path.read_bytes()
        report.equal(f"{name}: {file}", got, wanted)
    check_tensors(report, name, folder, stored)


def check_screens(report, name, program, answers, scratch):
    """As llama.py was run: beside the folder, the folder's name relative."""
    shutil.copy(FEW_SHOT, scratch)

    def compare(kind, typed, *arguments):
        screen = program.run(
            "generate",
            "--compat",
            "seed",
            "--model-path",
            "mlx_model",
            "--max-tokens",
            answers[kind]["max_tokens"],
            *arguments,
            text=typed,
            cwd=scratch,
        )
        wanted = answers[kind]["screen"]
        check_lines(report, f"{name}: {kind}", mask_times(screen), wanted)

    if "text" in answers:
        compare("text", "\n", "--prompt", answers["text"]["prompt"])
    if "few_shot" in answers:
        typed = "".join(q + "\n" for q in answers["few_shot"]["questions"])
        compare("few_shot", typed, "--few-shot", FEW_SHOT.name)


def check_folder(report, program, stored, scratch):
    answers, name = read_json(stored / "answers.json"), stored.name
    linked = with_tokenizer(stored, scratch, "mlx_model")

    def written():
        label = f"{name}, written"
        check_conversion(report, label, program, stored, answers, scratch)

    def read():
        label = f"{name}, read"
        check_generations(
            report, label, program, linked, answers["generations"]
        )
        check_nll(report, label, program, linked, answers)

    def shown():
        check_screens(report, f"{name}, shown", program, answers, scratch)

    report.attempt(f"{name}, written", written)
    report.attempt(f"{name}, read", read)
    report.attempt(f"{name}, shown", shown)


if __name__ == "__main__":
    sys.exit(run_checks(__doc__, check_folder, [DATA / "seed"]))
