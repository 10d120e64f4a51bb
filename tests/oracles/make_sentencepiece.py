#!/usr/bin/env python3
"""Trains the tiny SentencePiece model of tests/data/sentencepiece.

It is made as Llama's was (byte pairs, a byte for what no piece covers, nothing
normalised), of the lines below, so small that tiny checkpoints can share it.
Run by hand; needs sentencepiece.
"""

import io
import sys
from pathlib import Path

import sentencepiece

# Three control pieces, 256 bytes, the characters of the text, and what they
# merge to: "[Instruction]" is one piece, and "[" another.
PIECES = 352
TEXT = """
[Instruction] Name a river
[Answer] The Aare is a river
[Instruction] Name a lake
[Answer] The Zug is a lake
[Instruction] Where is the river
[Answer] The river is in the north
[Instruction] Where is the lake
[Answer] The lake is near the town
[Instruction] Tell me of the sea
[Answer] In the end the river is in the sea
In the beginning there was a river near the town
and the rain on the stone ran to the lake in the north
a train in the rain, and a letter to the north
the sea is near, the stone is on the lake
she sat on the stone and read the letter again
there was no one in the town, no one at the lake
"""


def main():
    out = Path(__file__).resolve().parent.parent / "data" / "sentencepiece"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.strip().split("\n")),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        split_by_unicode_script=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer.model").write_bytes(model.getvalue())
    print(f"{out}/tokenizer.model: {len(model.getvalue())} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
