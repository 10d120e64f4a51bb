#!/usr/bin/env python3
"""Runs mlx-examples' llama.py, and mlx_lm, on folders that llamlx writes.

    check_originals.py path/to/mlx-examples path/to/llamlx

Every checkpoint of make_seed.py and of tests/data/meta is converted by llamlx
to an npz folder, which llama.py must load: the article's, repaired as
run_original.py tells, and the last, too. Its greedy tokens and likelihoods must
be llamlx's, and so must its screen. mlx_lm must compute PyTorch's logits from
the safetensors folders. Run by hand; needs mlx, mlx_lm, torch, transformers
and sentencepiece.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import torch
from make_seed import CASES
from mlx_folders import mlx_lm_logits
from original_scripts import Originals
from program import Program, Report, read_json
from stored_answers import DATA, mask_times, tolerance, with_tokenizer
from torch_answers import STEPS, mean_nll

# Keys of params.json that llama.py does not know.
STRANGE = {"use_scaled_rope", "max_seq_len"}


class Check:
    """The programs, the findings, and room for folders."""

    def __init__(self, args, scratch):
        self.report = Report()
        self._program = Program(args.program)
        self._scratch = Path(scratch)
        self._seed = Originals(args.checkout, "seed", scratch)
        self._head = Originals(args.checkout, "head", scratch)
        self._folders = 0

    def _convert(self, source, *options):
        """Returns (the folder, where it lies, the answers of its source)."""
        self._folders += 1
        room = self._scratch / str(self._folders)
        room.mkdir()
        linked = with_tokenizer(source, room)
        self._program.convert(linked, room / "mlx_model", *options)
        return room / "mlx_model", room, read_json(source / "answers.json")

    def npz(self, name, scripts, source, *options):
        folder, room, answers = self._convert(source, *options)
        prompts = [g["prompt_ids"] for g in answers["generations"]]
        texts = [text["ids"] for text in answers["nll"]]
        said = scripts.ask(folder, prompts, STEPS, texts, float32=True)
        for i, prompt in enumerate(prompts):
            got = self._program.generate(
                folder, STEPS, "--ignore-eos", ids=prompt
            )
            self.report.greedy(
                f"{name}: generation {i}",
                got["tokens"],
                said["tokens"][i],
                said["margins"][i],
            )
        for ids, logits in zip(texts, said["logits"]):
            got = self._program.perplexity(folder, ids=ids)["mean_nll"]
            wanted = mean_nll(torch.tensor(logits), ids)
            self.report.near(f"{name}: mean NLL", got, wanted, 1e-3)
        return room, answers

    def screen(self, name, scripts, room):
        """Both print the same, beside the folder."""
        # The prompt that was stored for being clear in 16 bits; one token, as
        # later ones are too close to call.
        stored = read_json(DATA / "seed" / name / "answers.json")
        prompt = stored["text"]["prompt"]
        arguments = ["--model-path", "mlx_model", "--prompt", prompt, "-m", "1"]
        _, wanted, error = scripts.run(
            "llama.py", *arguments, text="\n", cwd=room
        )
        got = self._program.run(
            "generate", "--compat", "seed", *arguments, text="\n", cwd=room
        )
        # MLX's threads can outlive Python: what it says then is no error.
        if "without an active exception" not in error:
            self.report.equal(f"{name}: errors", error, "")
        got, wanted = mask_times(got), mask_times(wanted)
        self.report.equal(f"{name}: screen", got, wanted)

    def seed(self, case):
        scripts = self._seed if case.which == "seed" else self._head
        room, answers = self.npz(
            case.name,
            scripts,
            DATA / case.source,
            "--compat",
            case.which,
            *case.options,
        )
        if answers.get("speaks"):
            self.screen(case.name, scripts, room)

    def meta(self, source):
        """Without --compat, and with what only the program reads rightly."""
        for which, scripts in ("seed", self._seed), ("head", self._head):
            name = f"{source.name}, npz in {which}'s llama.py"
            self.npz(name, scripts, source, "--format", "npz")

    def mlx_lm(self, source):
        folder, _, answers = self._convert(source)
        wanted = answers["last_logits"]
        logits, _ = mlx_lm_logits(folder, wanted["ids"])
        self.report.near_all(
            f"{source.name}: mlx_lm's logits",
            logits[-1].tolist(),
            wanted["logits"],
            tolerance(answers),
        )

    def attempt(self, name, action, *arguments):
        print(name, flush=True)
        self.report.attempt(name, lambda: action(*arguments))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkout", type=Path, help="of mlx-examples")
    parser.add_argument("program", type=Path, help="the llamlx program")
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    with tempfile.TemporaryDirectory() as scratch:
        check = Check(args, scratch)
        for case in CASES:
            strange = STRANGE & set(params_of(DATA / case.source))
            if not strange:
                check.attempt(f"seed {case.name}", check.seed, case)
        for answers in sorted(DATA.glob("meta/*/answers.json")):
            source = answers.parent
            if not STRANGE & set(params_of(source)):
                check.attempt(f"npz {source.name}", check.meta, source)
            check.attempt(f"mlx_lm {source.name}", check.mlx_lm, source)
        for answers in sorted(DATA.glob("bin/*/answers.json")):
            source = answers.parent
            check.attempt(f"mlx_lm {source.name}", check.mlx_lm, source)
    return check.report.finish()


def params_of(source):
    path = source / "params.json"
    return read_json(path) if path.exists() else {}


if __name__ == "__main__":
    sys.exit(main())
