#!/usr/bin/env python3
"""Compares llamlx with mlx_lm on the folders that either of them writes.

mlx_lm loads what `llamlx convert` writes, so its layout, config and packing are
what other MLX programs expect, and llamlx what mlx_lm writes; the logits of both
on the same folder are compared in float32. Runs in an environment with mlx_lm.

    check_mlx_lm.py build/check/llamlx build/check/tests/oracles/llamlx_logits
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import mlx_lm
import numpy as np
from mlx_folders import (
    bits_of,
    compare_logits,
    float32_tolerance,
    mlx_lm_logits,
    read_tensors,
)
from mlx_lm.utils import load_model, quantize_model, save_config, save_model
from program import Program, Report, read_json

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)
LATE_POSITION = 128
MODES = {
    mode: {"group_size": group_size, "bits": bits, "mode": mode}
    for mode, group_size, bits in (
        ("mxfp4", 32, 4),
        ("mxfp8", 32, 8),
        ("nvfp4", 16, 4),
    )
}


def affine(bits):
    return {"group_size": 32, "bits": bits, "mode": "affine"}


def mixed_modes(path):
    """Another mode for each kind of module."""
    if "embed_tokens" in path:
        return affine(8)
    if "down_proj" in path:
        return MODES["mxfp8"]
    return MODES["nvfp4" if "self_attn" in path else "mxfp4"]


def ignored_window(config):
    """The window of layers that mlx_lm lets see everything; None: there are no
    such layers."""
    kind = config["model_type"]
    if kind == "llama":
        return None
    if kind.startswith("qwen") and not config.get("use_sliding_window"):
        return None
    return config.get("sliding_window", 4096)


def difference(config):
    """Where mlx_lm departs from transformers, as llamlx does not; None where
    they agree."""
    kind = config["model_type"]
    if kind == "llama" and "full_attention" not in config.get(
        "layer_types", ["full_attention"]
    ):
        return "needs a layer of full attention"
    if kind == "qwen2" and config.get("head_dim"):
        return "splits a qwen2's width among its heads"
    if kind == "qwen3" and config.get("attention_bias"):
        return "gives a qwen3 no biases"
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if "yarn" in (rope.get("rope_type"), rope.get("type")):
        if rope.get("attention_factor") or rope.get("truncate") is False:
            return "ignores yarn's attention_factor and truncate"
        if bool(rope.get("mscale")) != bool(rope.get("mscale_all_dim")):
            return "lets one of yarn's mscales count alone"
    return None


def log_softmax(logits):
    """Of each row, in float64."""
    rows = logits.astype(np.float64)
    rows -= rows.max(-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(-1, keepdims=True))


class Check:
    """The programs, the findings, and room for folders."""

    def __init__(self, args, scratch):
        self.report = Report()
        self._program = Program(args.program, args.logits)
        self._scratch = Path(scratch)

    def convert_and_compare(self, name, source, ids, *options):
        """Converts, compares logits, and returns the folder."""
        folder = self._scratch / "converted"
        shutil.rmtree(folder, ignore_errors=True)
        self._program.convert(source, folder, *options)
        compare_logits(
            self.report, self._program, name, folder, ids, self._scratch
        )
        return folder

    def tiny(self, source):
        """One checkpoint as it is, and in 4 bits where its widths allow."""
        ids = read_json(source / "answers.json")["nll"][-1]["ids"]
        name = source.name
        config = read_json(source / "config.json")
        if reason := difference(config):
            self.report.exclude(name, f"mlx_lm {reason}")
            return
        window = ignored_window(config)
        if window and window < len(ids):
            self.report.exclude(
                f"{name} from token {window} on", "mlx_lm ignores its window"
            )
            ids = ids[:window]
        if config.get("num_experts_per_tok") and len(ids) > LATE_POSITION:
            # PyTorch's float64 is 2.2e-4 from it there, and 3.3e-5 from us.
            self.report.exclude(
                f"{name} from token {LATE_POSITION} on",
                "routers make more of what mlx_lm rounds off",
            )
            ids = ids[:LATE_POSITION]
        self.report.attempt(
            name, lambda: self.convert_and_compare(name, source, ids)
        )
        options = ("-q", "--q-group-size", "32")
        name = f"{source.name}, 4-bit"
        self.report.attempt(
            name, lambda: self.convert_and_compare(name, source, ids, *options)
        )

    def distance(self, name, a, b, ids):
        """What `compare` says of two folders, by mlx_lm's logits in float64."""

        def compare():
            logits, config = mlx_lm_logits(a, ids)
            tolerance = float32_tolerance(config, logits)
            p = log_softmax(logits[:-1])
            q = log_softmax(mlx_lm_logits(b, ids)[0][:-1])
            kl = (np.exp(p) * (p - q)).sum(-1)
            told = self._program.compare(a, b, ids)
            found = told["comparison"]
            report = self.report
            # Each log-probability is off by two logits' errors at most.
            report.near(f"{name}: KL", found["mean_kl"], kl.mean(), 4 * tolerance)
            report.near(f"{name}: largest", found["max_kl"], kl.max(), 4 * tolerance)
            agreement = (p.argmax(-1) == q.argmax(-1)).mean()
            one = 1 / len(kl)
            # A choice that is too close may fall either way.
            report.near(
                f"{name}: agreement", found["top1_agreement"], agreement, one
            )
            for model, rows in [("a", p), ("b", q)]:
                nll = -rows[np.arange(len(kl)), ids[1:]].mean()
                report.near(
                    f"{name}: NLL of {model}",
                    told[model]["mean_nll"],
                    nll,
                    2 * tolerance,
                )

        self.report.attempt(name, compare)

    def packing(self, source, *options):
        ids = read_json(source / "answers.json")["nll"][-1]["ids"][:16]
        name = f"{source.name}, {' '.join(map(str, options))}"

        def compare():
            folder = self.convert_and_compare(
                name, source, ids, "-q", *options
            )
            packed = [n for n in read_tensors(folder) if n.endswith(".scales")]
            # Seven in each of two layers, the embedding, and the head.
            self.report.equal(f"{name}: packed weights", len(packed), 16)

        self.report.attempt(name, compare)

    def written_by_mlx_lm(self, source, form, packing):
        """A folder of mlx_lm's own, dense or packed as `packing` says of a
        module's path."""
        ids = read_json(source / "answers.json")["nll"][-1]["ids"]
        name = f"{source.name} by mlx_lm, {form}"

        def compare():
            folder = self._scratch / "written"
            shutil.rmtree(folder, ignore_errors=True)
            model, config = load_model(source)
            if packing:
                # Some models have their routers packed in another way.
                own = getattr(model, "quant_predicate", lambda *_: True)

                def settings(path, module):
                    theirs = own(path, module)
                    return packing(path) if theirs is True else theirs

                model, config = quantize_model(
                    model, config, quant_predicate=settings, **packing("")
                )
            save_model(folder, model)
            save_config(config, folder / "config.json")
            compare_logits(
                self.report, self._program, name, folder, ids, self._scratch
            )

        self.report.attempt(name, compare)

    def smollm2(self, gguf, data):
        """The real model, with its tokenizer, in three forms."""
        prompt = read_json(data / "answers.json")["prompts"]["seed"]
        text, ids = prompt["prompt"], prompt["prompt_ids"]
        forms = {
            "lossless": ((), [4, 8]),
            "bfloat16": (("--dtype", "bfloat16"), []),
            "4-bit": (("-q",), [4]),
        }
        for form, (options, bits) in forms.items():
            name = f"SmolLM2, {form}"

            def compare(name=name, options=options, bits=bits):
                folder = self.convert_and_compare(name, gguf, ids, *options)
                _, tokenizer, config = mlx_lm.load(
                    str(folder), lazy=True, return_config=True
                )
                report = self.report
                report.equal(f"{name}: token ids", tokenizer.encode(text), ids)
                report.equal(f"{name}: bits", bits_of(config), bits)

            self.report.attempt(name, compare)
        whole, packed = self._scratch / "whole", self._scratch / "packed"
        self._program.convert(gguf, whole, "--dtype", "bfloat16")
        self._program.convert(gguf, packed, "-q")
        answer = read_json(data / "answers.json")["prompts"]["seed"]["tokens"]
        self.distance("SmolLM2, 4-bit beside bfloat16", whole, packed, ids + answer)


def main():
    data = Path(__file__).resolve().parent.parent / "data"
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("program", type=Path, help="the llamlx program")
    parser.add_argument("logits", type=Path, help="the llamlx_logits program")
    parser.add_argument("--gguf", type=Path, help="also SmolLM2's GGUF")
    parser.add_argument("--data", type=Path, default=data / "tiny")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        check = Check(args, scratch)
        for answers in sorted(args.data.glob("*/answers.json")):
            check.tiny(answers.parent)
        divided = data / "tiny" / "groups_divide"
        for bits in BITS:
            for size in GROUPS:
                check.packing(
                    divided, "--q-bits", bits, "--q-group-size", size
                )
        for mode in MODES:
            check.packing(divided, "--q-mode", mode)
        for name in (
            "groups_divide",
            "tied",
            "qwen3",
            "mixtral_groups_divide",
            "qwen3_moe_groups_divide",
        ):
            source = data / "tiny" / name
            check.written_by_mlx_lm(source, "dense", None)
            check.written_by_mlx_lm(source, "4-bit", lambda _: affine(4))
            check.written_by_mlx_lm(
                source,
                "mixed",
                lambda path: affine(8 if "down_proj" in path else 3),
            )
            for mode, form in MODES.items():
                check.written_by_mlx_lm(source, mode, lambda _, form=form: form)
            check.written_by_mlx_lm(source, "mixed modes", mixed_modes)
        if args.gguf:
            check.smollm2(args.gguf, data / "smollm2")
    return check.report.finish()


if __name__ == "__main__":
    sys.exit(main())
