"""Compares llamlx's tokenizers with the packages tokenizers and sentencepiece,
over data/corpus.json and seeded random texts and ids. Prints one line for each
tokenizer, and the differences; exits 1 when there is one.

    python tokenizer_corpus.py PROGRAM [--gguf FILE] [--texts N] [--seed S]

PROGRAM is tokenizer_ids (../tokenizer_ids.cpp).

Left out by name: code points that Unicode 14 does not assign. llamlx's
libraries know Unicode 14 (PCRE2 10.42, utf8proc 2.8), the packages newer or
older versions, and only assigned characters have properties for ever."""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizer_folders import Maker

HERE = pathlib.Path(__file__).parent

RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F),
          (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xEFF), (0x1000, 0x109F),
          (0x1100, 0x11FF), (0x1780, 0x17FF), (0x1E00, 0x1FFF),
          (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF),
          (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFDFF),
          (0xFE00, 0xFFEF), (0x10000, 0x1FAFF), (0x20000, 0x2A6DF),
          (0, 0x10FFFF)]
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u180e\u2003\u2028\u2029\u202f\u205f\u3000"
CONTRACTIONS = ["'s", "'T", "'re", "'VE", "'m", "'ll", "'D", "'\u017f", "'S "]


class RandomTexts:
    def __init__(self, seed, corpus, tokens):
        self.random = random.Random(seed)
        self.words = [word for text in corpus for word in text.split()]
        self.corpus = [text for text in corpus if text]
        self.tokens = tokens

    def character(self):
        while True:
            low, high = self.random.choice(RANGES)
            code = self.random.randint(low, high)
            if unicodedata.category(chr(code)) not in ("Cn", "Cs"):
                return chr(code)

    def part(self):
        r = self.random
        kind = r.randrange(10)
        if kind < 2:
            return "".join(self.character() for _ in range(r.randint(1, 8)))
        if kind == 2:
            return "".join(r.choice(SPACES) for _ in range(r.randint(1, 6)))
        if kind == 3:
            return r.choice(" \n\t") * r.randint(1, 12)
        if kind == 4:
            return "".join(r.choice("0123456789.,-") for _ in range(r.randint(1, 7)))
        if kind == 5:
            return r.choice(CONTRACTIONS)
        if kind == 6:
            text = r.choice(self.corpus)
            start = r.randrange(len(text))
            return text[start:start + r.randint(1, 12)]
        if kind == 7 and self.tokens:
            return r.choice(self.tokens)
        if kind == 8:
            return "".join(r.choice("ab e\u0301x_") for _ in range(r.randint(1, 9)))
        return r.choice(self.words) + r.choice(["", " ", "  "])

    def text(self):
        return "".join(self.part() for _ in range(self.random.randint(1, 12)))


def random_ids(seed, size, count):
    r = random.Random(seed)
    low = min(size, 300)  # bytes and special tokens are among the first
    return [[r.randrange(low if r.random() < 0.5 else size)
             for _ in range(r.randint(1, 12))] for _ in range(count)]


def ask(program, folder, questions):
    done = subprocess.run([program, str(folder)], input=json.dumps(questions),
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{folder}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def compare(case, program, corpus, count, seed):
    """The number of texts compared, and the differences."""
    maker = RandomTexts(seed, corpus, case.tokens)
    reserved = ["<s>", "</s>", "<unk>"]
    texts = corpus + [maker.text() for _ in range(count)]
    if not case.tokens:  # sentencepiece does not look for special tokens
        texts = [text for text in texts
                 if not any(token in text for token in reserved)]
    sequences = random_ids(seed, case.oracle.size(), count)
    answers = ask(program, case.folder, texts + sequences)
    plain = case.oracle.encode(texts, False)
    special = case.oracle.encode(texts, True)
    decoded = case.oracle.decode(plain + sequences)
    differences = []
    for index, question in enumerate(texts + sequences):
        answer = answers[index]
        expected = {"text": decoded[index], "streamed": decoded[index]}
        if index < len(texts):
            expected.update(ids=plain[index], special=special[index])
        differences += [(question, key, expected[key], answer[key])
                        for key in expected if expected[key] != answer[key]]
    return len(answers), differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--gguf", help="a GGUF file with a byte-level vocabulary")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="tokenizers whose name begins so")
    arguments = parser.parse_args()
    corpus = json.loads((HERE.parent / "data" / "corpus.json").read_text())
    total = wrong = 0
    with tempfile.TemporaryDirectory() as root:
        cases = Maker(root, corpus, arguments.gguf).make_all()
        for index, case in enumerate(cases):
            if arguments.only and not case.name.startswith(arguments.only):
                continue
            count = max(20, round(arguments.texts * case.weight))
            compared, differences = compare(case, arguments.program, corpus,
                                            count, arguments.seed + index)
            total += compared
            wrong += len(differences)
            print(f"{case.name}: {compared} compared, "
                  f"{len(differences)} different")
            for question, key, expected, got in differences[:3]:
                print(f"  {key} of {ascii(question)[:300]}\n"
                      f"    expected {ascii(expected)[:300]}\n"
                      f"    got      {ascii(got)[:300]}")
    print(f"{total} compared, {wrong} different")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
