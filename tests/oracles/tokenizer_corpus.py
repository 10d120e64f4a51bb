"""Compares llamlx's tokenizers with the packages tokenizers, sentencepiece,
tiktoken and mistral-common, over data/corpus.json and seeded random texts, ids
and broken bytes. Prints one line for each tokenizer, and the differences; exits
1 when there is one.

    python tokenizer_corpus.py PROGRAM [--gguf FILE] [--texts N] [--seed S]
                               [--write-tiktoken PROGRAM]

PROGRAM is tokenizer_ids (../tokenizer_ids.cpp); that of --write-tiktoken is
write_tiktoken (../write_tiktoken.cpp).

Left out by name: code points that Unicode 14 does not assign. llamlx's
libraries know Unicode 14 (PCRE2 10.42, utf8proc 2.8), the packages newer
versions, and only assigned characters have properties for ever. Where texts are
normalized or split at punctuation, also NEWER: tokenizers' tables for that are
of Unicode 8 and 9. Ties of unigram
models are counted, but are no differences (SentencePieceOracle.ties)."""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizer_folders import Maker
from tokenizer_packages import package_cases

HERE = pathlib.Path(__file__).parent

RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F),
          (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xEFF), (0x1000, 0x109F),
          (0x1100, 0x11FF), (0x1780, 0x17FF), (0x1E00, 0x1FFF),
          (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF),
          (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFDFF),
          (0xFE00, 0xFFEF), (0x10000, 0x1FAFF), (0x20000, 0x2A6DF),
          (0, 0x10FFFF)]
# Marks, punctuation and decompositions that Unicode 9 to 14 brought or changed.
NEWER = [
    (0x61D, 0x61D), (0x7FD, 0x7FD), (0x898, 0x89F), (0x8CA, 0x8D3),
    (0x9FD, 0x9FE), (0xA76, 0xA76), (0xAFA, 0xAFF), (0xB55, 0xB55),
    (0xC04, 0xC04), (0xC3C, 0xC3C), (0xC77, 0xC77), (0xC84, 0xC84),
    (0xD00, 0xD00), (0xD3B, 0xD3C), (0xD81, 0xD81), (0xEBA, 0xEBA),
    (0x166D, 0x166D), (0x1715, 0x1715), (0x180F, 0x180F), (0x1ABF, 0x1ACE),
    (0x1B7D, 0x1B7E), (0x1CF2, 0x1CF7), (0x1DF6, 0x1DFA), (0x2E43, 0x2E5D),
    (0x32FF, 0x32FF), (0xA7F2, 0xA7F4), (0xA82C, 0xA82C), (0xA8FF, 0xA8FF),
    (0xAB69, 0xAB69), (0x10781, 0x107BA), (0x10D24, 0x10D27),
    (0x10EAB, 0x10EAD), (0x10F46, 0x10F89), (0x11070, 0x11074),
    (0x110C2, 0x110C2), (0x11145, 0x11146), (0x111C9, 0x111CF),
    (0x1133B, 0x1133B), (0x1144B, 0x1145E), (0x11660, 0x1166C),
    (0x116B9, 0x116B9), (0x1182C, 0x1183B), (0x11930, 0x11946),
    (0x119D1, 0x119E4), (0x11A01, 0x11AA2), (0x11C41, 0x11C71),
    (0x11D31, 0x11D97), (0x11EF3, 0x11EF8), (0x11FFF, 0x11FFF),
    (0x12FF1, 0x12FF2), (0x16E97, 0x16E9A), (0x16F4F, 0x16F4F),
    (0x16F7F, 0x16F87), (0x16FE2, 0x16FF1), (0x1CF00, 0x1CF46),
    (0x1E130, 0x1E136), (0x1E2AE, 0x1E2EF), (0x1E95E, 0x1E95F),
    (0x1F16C, 0x1F16C), (0x1FBF0, 0x1FBF9)]
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u180e\u2003\u2028\u2029\u202f\u205f\u3000"
CONTROLS = [chr(code) for code in (*range(32), *range(0x7F, 0xA0))]
MARKS = "\u0300\u0301\u0308\u0323\u0327\u0489\u05b8\u064e\u093c\u0e49\u3099\u20e3"
EMOJI = ["\U0001f600", "\U0001f469", "\U0001f9d1", "\u2764", "\u261d", "1"]
EMOJI_TAILS = ["\u200d\U0001f467", "\u200d\u2642\ufe0f", "\ufe0f", "\ufe0e",
               "\U0001f3fb", "\U0001f3ff", "\ufe0f\u20e3",
               "\U0001f1e9\U0001f1ea", "\U0001f1eb", "\U000e0067\U000e007f"]
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
        kind = r.randrange(13)
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
        if kind == 9:
            return r.choice("eao\u0438\u05d0\u0915 ") + "".join(
                r.choice(MARKS) for _ in range(r.randint(1, 5)))
        if kind == 10:
            return r.choice(EMOJI) + "".join(
                r.choice(EMOJI_TAILS) for _ in range(r.randint(0, 4)))
        if kind == 11:
            return "".join(r.choice(CONTROLS) for _ in range(r.randint(1, 5)))
        return r.choice(self.words) + r.choice(["", " ", "  "])

    def text(self):
        return "".join(self.part() for _ in range(self.random.randint(1, 12)))


    def broken(self):
        """Bytes that are not UTF-8, or hardly."""
        r = self.random
        data = bytearray(self.text().encode()[:60])
        for _ in range(r.randint(1, 6)):
            at = r.randint(0, len(data))
            kind = r.randrange(3)
            if kind == 0:
                data[at:at] = bytes([r.randint(0x80, 0xFF)])
            elif kind == 1:
                data[at:at + r.randint(1, 3)] = b""
            else:  # surrogates, overlong forms, beyond the last code point
                data[at:at] = r.choice([
                    b"\xed\xa0\x80", b"\xc0\x80", b"\xe0\x80\xaf", b"\xf4\x90",
                    b"\xf0\x9f\x98", b"\xe4\xb8", b"\xf8\x88\x80", b"\xff\xfe"])
        return bytes(data)


def long_texts(seed):
    """Words and runs far longer than any that a text holds."""
    r = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    yield from ("a" * 100_000, "A" * 100_000, "\u4e2d" * 30_000, " " * 20_000,
                "\n" * 20_000, "7" * 20_000, "\U0001f600" * 10_000, "=" * 20_000,
                "e\u0301" * 10_000, " \n" * 10_000 + "x", "ab" * 20_000)
    yield "".join(r.choice(letters) for _ in range(50_000))
    yield "".join(r.choice(letters + letters.upper()) for _ in range(20_000))
    yield "".join(chr(r.randint(0x4E00, 0x9FFF)) for _ in range(20_000))


def is_newer(text):
    return any(low <= ord(character) <= high
               for character in text for low, high in NEWER)


def random_ids(seed, oracle, count):
    r = random.Random(seed)
    size = oracle.size()
    # By default, bytes and special tokens are among the first.
    common = (oracle.common_ids() if hasattr(oracle, "common_ids")
              else range(min(size, 300)))
    return [[r.choice(common) if r.random() < 0.5 else r.randrange(size)
             for _ in range(r.randint(1, 12))] for _ in range(count)]


def ask(program, folder, questions):
    done = subprocess.run([program, str(folder)], input=json.dumps(questions),
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{folder}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def make_texts(case, corpus, count, seed):
    """The texts to compare, and as what questions they are put."""
    maker = RandomTexts(seed, corpus, case.tokens)
    questions = corpus + ["".join(case.tokens)]
    questions += [maker.text() for _ in range(count)]
    if case.long_texts:
        questions += long_texts(seed)
    questions += [{"bytes": list(maker.broken())} for _ in range(count // 4)]
    reserved = list(case.reserved)
    if not case.tokens:  # sentencepiece does not look for special tokens
        reserved += ["<s>", "</s>", "<unk>"]
    pairs = []
    for question in questions:
        text = question
        if isinstance(question, dict):
            text = bytes(question["bytes"]).decode(errors="replace")
        if any(token in text for token in reserved):
            continue
        if not (case.old_tables and is_newer(text)):
            pairs.append((text, question))
    return [text for text, _ in pairs], [question for _, question in pairs]


def compare_oracles(case, texts, sequences, expected):
    """Where the case's other oracles differ from its first."""
    for name, other in case.others.items():
        got = (other.encode(texts, False), other.encode(texts, True),
               other.decode(expected[0] + sequences))
        for key, want, have in zip(("ids", "special", "text"), expected, got):
            for question, one, two in zip(texts + sequences, want, have):
                if one != two:
                    yield question, f"{key} by {name}", one, two


def compare(case, program, corpus, count, seed):
    """The number of texts compared, how many tie, and the differences."""
    texts, questions = make_texts(case, corpus, count, seed)
    sequences = random_ids(seed, case.oracle, count)
    answers = ask(program, case.folder, questions + sequences)
    plain = case.oracle.encode(texts, False)
    special = case.oracle.encode(texts, True)
    decoded = case.oracle.decode(plain + sequences)
    ties, differences = 0, []
    for index, question in enumerate(texts + sequences):
        answer = answers[index]
        expected = {"text": decoded[index], "streamed": decoded[index]}
        if index < len(texts):
            expected.update(ids=plain[index], special=special[index])
        if index < len(texts) and case.oracle.ties(plain[index], answer["ids"]):
            ties += plain[index] != answer["ids"]
            del expected["ids"], expected["special"]
        differences += [(question, key, expected[key], answer[key])
                        for key in expected if expected[key] != answer[key]]
    if case.stops is not None:
        about = ask(program, case.folder, [None])[0]
        expected = {"stops": case.stops, "size": case.oracle.size()}
        differences += [("the tokenizer", key, expected[key], about[key])
                        for key in expected if expected[key] != about[key]]
    differences += compare_oracles(case, texts, sequences,
                                   (plain, special, decoded))
    return len(answers), ties, differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--gguf", help="a GGUF file with a byte-level vocabulary")
    parser.add_argument("--write-tiktoken", help="the program write_tiktoken")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="tokenizers whose name begins so")
    arguments = parser.parse_args()
    corpus = json.loads((HERE.parent / "data" / "corpus.json").read_text())
    total = wrong = 0
    with tempfile.TemporaryDirectory() as root:
        cases = Maker(root, corpus, arguments.gguf).make_all()
        cases += package_cases(pathlib.Path(root), arguments.write_tiktoken)
        for index, case in enumerate(cases):
            if arguments.only and not case.name.startswith(arguments.only):
                continue
            count = max(20, round(arguments.texts * case.weight))
            compared, ties, differences = compare(
                case, arguments.program, corpus, count, arguments.seed + index)
            total += compared
            wrong += len(differences)
            print(f"{case.name}: {compared} compared, "
                  f"{len(differences)} different"
                  + (f", {ties} tie" if ties else ""), flush=True)
            for question, key, expected, got in differences[:3]:
                print(f"  {key} of {ascii(question)[:300]}\n"
                      f"    expected {ascii(expected)[:300]}\n"
                      f"    got      {ascii(got)[:300]}")
    print(f"{total} compared, {wrong} different")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
