"""The tokenizers that model makers ship inside their Python packages, each with
the package's own code as its judge: Llama 3 and 4 (llama-models, tiktoken) and
Mistral's (mistral-common). tokenizer_corpus.py compares llamlx with them.

llamlx recognises special tokens wherever a text spells them out, as
transformers does. tiktoken does so when told to. mistral-common never does: its
judges cut the text at them, and ask the package for what lies between."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import mistral_common
import transformers
from llama_models.llama3.tokenizer import Tokenizer as Llama3
from llama_models.llama4.tokenizer import Tokenizer as Llama4
from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from tokenizer_folders import Case, HubOracle, SentencePieceOracle

MISTRAL_DATA = pathlib.Path(mistral_common.__file__).parent / "data"


class TiktokenOracle:
    """tiktoken, with the words and special tokens of a llama-models class. Not
    the class's encode(): that cuts words of more than 25000 characters, as
    transformers does not."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.special_ids = frozenset(tokenizer.special_tokens.values())

    def encode(self, texts, special):
        bos = [self.tokenizer.bos_id] if special else []
        return [bos + self.tokenizer.model.encode(text, allowed_special="all")
                for text in texts]

    def decode(self, sequences):
        return [self.tokenizer.decode(
            [one for one in ids if one not in self.special_ids])
            for ids in sequences]

    def size(self):
        return self.tokenizer.n_words

    def common_ids(self):
        return [*range(300), *self.special_ids]

    def ties(self, ids, others):
        return False


class TekkenOracle:
    """mistral-common on a tekken.json."""

    def __init__(self, path):
        self.tokenizer = Tekkenizer.from_file(path)
        self.special = {
            self.tokenizer.id_to_piece(one): one
            for one in range(self.tokenizer.num_special_tokens)}
        longest_first = sorted(self.special, key=len, reverse=True)
        self.pattern = re.compile(
            "(" + "|".join(map(re.escape, longest_first)) + ")")

    def encode_one(self, text):
        ids = []
        for part in self.pattern.split(text):
            if part in self.special:
                ids.append(self.special[part])
            elif part:
                ids += self.tokenizer.encode(part, bos=False, eos=False)
        return ids

    def encode(self, texts, special):
        bos = [self.tokenizer.bos_id] if special else []
        return [bos + self.encode_one(text) for text in texts]

    def decode(self, sequences):
        return [self.tokenizer.decode(ids) for ids in sequences]

    def size(self):
        return self.tokenizer.n_words

    def common_ids(self):
        first = self.tokenizer.num_special_tokens
        return [*range(30), *range(first, first + 300)]

    def ties(self, ids, others):
        return False


class MistralSentencePieceOracle(SentencePieceOracle):
    """mistral-common on one of its SentencePiece models."""

    def __init__(self, path):
        super().__init__(path)
        self.tokenizer = SentencePieceTokenizer(path)
        self.special = [self.processor.id_to_piece(one)
                        for one in self.tokenizer.special_ids]

    def encode(self, texts, special):
        return [self.tokenizer.encode(text, bos=special, eos=False)
                for text in texts]

    def decode(self, sequences):
        return [self.tokenizer.decode(ids) for ids in sequences]


class TransformersOracle:
    """transformers on a folder."""

    def __init__(self, folder):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def encode(self, texts, special):
        return [self.tokenizer.encode(text, add_special_tokens=special)
                for text in texts]

    def decode(self, sequences):
        return [self.tokenizer.decode(ids, skip_special_tokens=True)
                for ids in sequences]


def tiktoken_cases(root, write_files):
    """Llama 3 and 4 as Meta ships them and, with the program `write_files`, as
    llamlx writes them for others to read."""
    for name, maker in (("llama3", Llama3), ("llama4", Llama4)):
        tokenizer = maker.get_instance()
        oracle = TiktokenOracle(tokenizer)
        folder = root / f"tiktoken-{name}"
        folder.mkdir()
        source = pathlib.Path(
            maker.get_instance.__func__.__globals__["__file__"])
        shutil.copy(source.parent / "tokenizer.model", folder)
        tokens = [*tokenizer.special_tokens]
        stops = sorted(tokenizer.stop_tokens)
        yield Case(folder.name, folder, oracle, tokens, 6, long_texts=True,
                   stops=stops)
        if not write_files:
            continue
        written = root / f"tiktoken-{name}-written"
        written.mkdir()
        subprocess.run([write_files, folder / "tokenizer.model", written],
                       check=True)
        settings = json.loads((written / "generation_config.json").read_text())
        if sorted(settings["eos_token_id"]) != stops:
            sys.exit(f"{written.name}: {settings} should name {stops}")
        others = {"tokenizers": HubOracle(written / "tokenizer.json"),
                  "transformers": TransformersOracle(written)}
        yield Case(written.name, written, oracle, tokens, 2, long_texts=True,
                   others=others)


def mistral_cases(root):
    """Mistral's, under the names of its model folders."""
    for path in sorted(MISTRAL_DATA.glob("tekken_*.json")):
        folder = root / path.stem
        folder.mkdir()
        os.symlink(path, folder / "tekken.json")
        oracle = TekkenOracle(path)
        yield Case(folder.name, folder, oracle, [*oracle.special], 4,
                   long_texts=True, stops=[oracle.tokenizer.eos_id])
    for path in sorted(MISTRAL_DATA.glob("*.model.v*")):
        version = path.suffix[1:]
        folder = root / f"mistral-{version}"
        folder.mkdir()
        os.symlink(path, folder / f"tokenizer.model.{version}")
        oracle = MistralSentencePieceOracle(path)
        yield Case(folder.name, folder, oracle, [], 2,
                   reserved=oracle.special, stops=[oracle.tokenizer.eos_id])


def package_cases(root, write_files):
    yield from tiktoken_cases(root, write_files)
    yield from mistral_cases(root)
