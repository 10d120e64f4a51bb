#!/usr/bin/env python3
"""Writes what a fuzz target begins with, where tests/data holds no such file.

    make_seeds.py TARGET CORPUS

Standard library alone.
"""

import base64
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "cli"))
import tiny_models  # noqa: E402


def write_gguf(corpus):
    """The smallest llama there can be."""
    tiny_models.HIDDEN = tiny_models.INTERMEDIATE = 8
    tiny_models.VOCAB = 4
    tiny_models.write_gguf(corpus / "made.gguf")


def write_tekken(corpus):
    """A vocabulary of bytes, and a merge; the first byte says which file."""
    tokens = [bytes([byte]) for byte in range(256)] + [b"ab"]
    vocab = [
        {
            "rank": rank,
            "token_bytes": base64.b64encode(token).decode(),
            "token_str": None,
        }
        for rank, token in enumerate(tokens)
    ]
    config = {
        "pattern": "[a-z]+|.",
        "num_vocab_tokens": len(vocab),
        "default_vocab_size": len(vocab) + 4,
        "default_num_special_tokens": 4,
        "version": "v3",
    }
    text = json.dumps({"config": config, "vocab": vocab})
    (corpus / "made-tekken").write_bytes(b"\x02" + text.encode())


def main():
    target, corpus = sys.argv[1], Path(sys.argv[2])
    if target == "fuzz_gguf":
        write_gguf(corpus)
    if target == "fuzz_tokenizer":
        write_tekken(corpus)


if __name__ == "__main__":
    main()
