#!/usr/bin/env python3
"""Stores what mlx-examples' convert.py and llama.py write and print.

    make_seed.py path/to/mlx-examples

runs the scripts of two commits, the published article's ("seed") and the last
("head"), on tiny checkpoints of tests/data, repaired as run_original.py tells,
and fills tests/data/seed: the folders they write, their screens, and the greedy
tokens. What meta_llama.py computes in float64 from the folders must agree.
Needs mlx, torch, transformers and sentencepiece.
"""

import argparse
import itertools
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import mlx.core as mx
import sentencepiece
import torch
from make_tiny_meta import heads_of, swap_rows
from meta_llama import MetaLlama
from original_scripts import COMMITS, Originals
from stored_answers import DATA, TOKENIZER, mask_times, with_tokenizer
from torch_answers import largest_difference, mean_nll, write_json

STEPS = 16
# How wide the greedy choices are, so that arithmetic in the type of the
# weights, whoever does it, chooses alike.
MARGINS = {"float16": 0.1, "bfloat16": 0.25, "float32": 1e-2}
# A difference that no rounding makes.
WRONG = 1e-3
WORDS = ["In the beginning", "the river", "a stone", "she sat", "Name a lake"]
WORDS += ["again", "no letter", "the end of the sea", "rain", "near the town"]
FEW_SHOT = DATA / "seed" / "few_shot.txt"


@dataclass(frozen=True)
class SeedCase:
    """A folder that convert.py writes: its source in tests/data and options."""

    name: str
    source: str
    options: tuple = ()
    which: str = "seed"

    @property
    def from_hf(self):
        return not self.source.startswith("meta/")

    @property
    def dtype(self):
        given = dict(itertools.pairwise(self.options))
        return given.get("--dtype", "float16")


def packed(bits, group_size, *more):
    sizes = ("--q-bits", str(bits), "--q-group-size", str(group_size))
    return ("-q", *sizes, *more)


DIVIDED = "meta/groups_divide_2_shards"
HF = ("--model-name", "tiny_llama")
BFLOAT16 = ("--dtype", "bfloat16")
CASES = [
    SeedCase("float16", DIVIDED),
    SeedCase("bfloat16", "meta/llama2_bfloat16", BFLOAT16),
    SeedCase("float32", "meta/llama2_float32", ("--dtype", "float32")),
    SeedCase("bfloat16_to_float16", "meta/grouped_4_shards"),
    SeedCase("11_shards", "meta/unpadded_11_shards"),
    SeedCase("q4", DIVIDED, ("-q",)),
    SeedCase("q8_group_64", DIVIDED, packed(8, 64)),
    SeedCase("q4_group_32", DIVIDED, packed(4, 32)),
    SeedCase("q8_group_32", DIVIDED, packed(8, 32)),
    SeedCase(
        "q4_bfloat16", "meta/llama2_bfloat16", packed(4, 32, *BFLOAT16)
    ),
    SeedCase("unknown_keys", "meta/unknown_keys"),
    SeedCase("hf_float16", "bin/single_float16", HF),
    SeedCase("hf_bfloat16", "bin/single_bfloat16", (*HF, *BFLOAT16)),
    SeedCase("hf_q4", "bin/sharded_float16", (*HF, *packed(4, 32))),
    SeedCase("hf_tied", "bin/tied_one_storage", HF),
    SeedCase("hf_safetensors", "tiny/short_context", HF),
    SeedCase("head_q4", "meta/llama2_bfloat16", packed(4, 32), "head"),
    SeedCase(
        "head_hf_q8", "bin/sharded_float16", (*HF, *packed(8, 32)), "head"
    ),
]


def random_prompts(vocab, count, generator):
    return [
        torch.randint(3, vocab, (3 + i % 10,), generator=generator).tolist()
        for i in range(count)
    ]


def to_torch(array):
    return torch.tensor(array.astype(mx.float32).tolist()).double()


def dense_tensors(folder, config):
    """The folder's tensors in Meta's row order, expanded if they are packed."""
    arrays = mx.load(str(folder / "weights.npz"))
    sizes, tensors = config.get("quantization", {}), {}
    for name, array in arrays.items():
        module = name.removesuffix(".weight")
        if module == name:
            continue
        if f"{module}.scales" in arrays:
            scales, biases = (
                arrays[f"{module}.{part}"].astype(mx.float32)
                for part in ("scales", "biases")
            )
            array = mx.dequantize(array, scales, biases, **sizes)
        tensor = to_torch(array)
        heads = heads_of(name, config)
        if heads and not config.get("rope_traditional", True):
            half = tensor.shape[0] // heads // 2
            tensor = swap_rows(tensor, heads, 2, half)
        tensors[name] = tensor
    return tensors


class Maker:
    """One case: the scripts, the folder they write, and room to work."""

    def __init__(self, case, checkout, scratch):
        self._case = case
        self._scratch = scratch
        self._source = with_tokenizer(DATA / case.source, scratch)
        self._model = scratch / "mlx_model"
        self._scripts = Originals(checkout, case.which, scratch)
        self._last = Originals(checkout, "head", scratch, repaired=False)
        self._tokenizer = sentencepiece.SentencePieceProcessor(str(TOKENIZER))
        answers = json.loads((self._source / "answers.json").read_text())
        self._texts = [text["ids"] for text in answers["nll"]]
        self._speaks = answers.get("speaks", False)

    def make(self, out):
        case = self._case
        said = self._scripts.convert(self._source, self._model, *case.options)
        answers = {
            "made_by": {
                name: metadata.version(name)
                for name in ("mlx", "torch", "transformers", "sentencepiece")
            }
            | {"mlx-examples": COMMITS[case.which]},
            "source": case.source,
            "compat": case.which,
            "options": list(case.options),
            "convert_screen": said,
        }
        config = json.loads((self._model / "config.json").read_text())
        if "_note" in config:
            # llama.py refuses keys that it does not know.
            answers |= {"generations": [], "nll": []}
        else:
            answers |= self._ask(config)
        if self._speaks:
            answers |= self._screens()
        self._keep(out, answers)
        return answers

    def _ask(self, config):
        vocab = dense_tensors(self._model, config)["output.weight"].shape[0]
        generator = torch.Generator().manual_seed(5)
        prompts = random_prompts(vocab, 60, generator)
        said = self._scripts.ask(self._model, prompts, STEPS, self._texts)
        best = self._clearest(said, 2)
        return {
            "generations": [
                {
                    "prompt_ids": prompts[i],
                    "tokens": said["tokens"][i],
                    "margins": said["margins"][i],
                }
                for i in best
            ],
            **self._likelihoods(config, said["logits"]),
        }

    def _clearest(self, said, count):
        """The questions whose answers are varied, and clear by far."""
        varied = [
            i for i, t in enumerate(said["tokens"]) if len(set(t)) >= STEPS // 2
        ]
        worst = [min(margins) for margins in said["margins"]]
        best = sorted(varied, key=lambda i: -worst[i])[:count]
        wanted = MARGINS[self._case.dtype]
        if len(best) < count or worst[best[-1]] < wanted:
            raise SystemExit(
                f"{self._case.name}: margins {[worst[i] for i in best]} of "
                f"{len(varied)} varied answers, wanted {wanted}"
            )
        return best

    def _likelihoods(self, config, logits):
        """Mean NLL by the script's logits, which must be true."""
        tensors = dense_tensors(self._model, config)
        judge = MetaLlama(config, tensors, torch.float64)
        error, sequences = 0.0, []
        for ids, rows in zip(self._texts, logits):
            got = torch.tensor(rows)
            error = max(error, largest_difference(got, judge.logits(ids)))
            sequences.append({"ids": ids, "mean_nll": mean_nll(got, ids)})
        if error > WRONG:
            raise SystemExit(f"{self._case.name}: {error} from what is right")
        return {"float32_error": float(f"{error:.3g}"), "nll": sequences}

    def _screens(self):
        """What llama.py prints for one text, and for questions."""
        prompt = self._clear_text(self._texts_to_continue())
        arguments = ["--prompt", prompt, "--max-tokens", STEPS]
        screens = {
            "text": {
                "prompt": prompt,
                "max_tokens": STEPS,
                "screen": self._screen(self._scripts, "\n", *arguments),
            },
            "text_with_head": self._with_head(arguments),
        }
        questions = self._clear_questions()
        if questions:
            typed = "".join(question + "\n" for question in questions)
            arguments = ["--few-shot", FEW_SHOT.name, "--max-tokens", STEPS]
            screens["few_shot"] = {
                "questions": questions,
                "max_tokens": STEPS,
                "screen": self._screen(self._scripts, typed, *arguments),
            }
        return screens

    def _screen(self, scripts, typed, *arguments):
        shutil.copy(FEW_SHOT, self._scratch)
        status, screen, error = scripts.run(
            "llama.py",
            "--model-path",
            self._model.name,
            *arguments,
            text=typed,
            cwd=self._scratch,
        )
        # Questions end with the input, at which the script falls over.
        if status != 0 and not error.startswith("EOFError"):
            raise SystemExit(f"{self._case.name}: {error}")
        return mask_times(screen)

    def _with_head(self, arguments):
        """The last llama.py, unrepaired: its screen, or why there is none."""
        status, screen, error = self._last.run(
            "llama.py",
            "--model-path",
            self._model.name,
            *arguments,
            text="\n",
            cwd=self._scratch,
        )
        return {"error": error} if status else {"screen": mask_times(screen)}

    def _encode(self, text):
        return [self._tokenizer.bos_id(), *self._tokenizer.encode(text)]

    def _answers_to(self, texts):
        prompts = [self._encode(text) for text in texts]
        return self._scripts.ask(self._model, prompts, STEPS, [])

    def _texts_to_continue(self):
        return [" ".join(pair) for pair in itertools.permutations(WORDS, 2)]

    def _clear_text(self, texts):
        return texts[self._clearest(self._answers_to(texts), 1)[0]]

    def _clear_questions(self):
        """One question whose answer runs into the next instruction, at which
        the script stops, and one whose answer runs to the end; none if there
        are no clear ones."""
        template = FEW_SHOT.read_text().strip()
        questions = self._texts_to_continue()
        said = self._answers_to([template.replace("{}", q) for q in questions])
        stop = self._tokenizer.piece_to_id("\u2581[Instruction]")
        ends = {stop, self._tokenizer.eos_id()}
        found = {}
        for question, tokens, margins in zip(
            questions, said["tokens"], said["margins"]
        ):
            # What comes after the stop is never said.
            length = next((i for i, t in enumerate(tokens) if t in ends), STEPS)
            clear = min(margins[: length + 1]) >= MARGINS[self._case.dtype]
            kind = "long" if length == STEPS else tokens[length]
            if clear and length >= 3:
                found.setdefault(kind, question)
        return [found[kind] for kind in (stop, "long") if kind in found]

    def _keep(self, out, answers):
        folder = out / self._case.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in ("weights.npz", "config.json"):
            shutil.copy(self._model / file, folder)
        write_json(folder / "answers.json", answers)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkout", type=Path, help="of mlx-examples")
    parser.add_argument("--out", type=Path, default=DATA / "seed")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these alone"
    )
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    for case in CASES:
        if args.only and case.name not in args.only:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            answers = Maker(case, args.checkout, Path(scratch)).make(args.out)
        margins = [m for g in answers["generations"] for m in g["margins"]]
        questions = answers.get("few_shot", {}).get("questions", [])
        print(
            f"{case.name}: smallest margin {min(margins, default=None)}, "
            f"float32 error {answers.get('float32_error')}, "
            f"{len(questions)} questions",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
