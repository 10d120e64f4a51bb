"""Writes models that say what they are told to."""

import json
import math
import random
import struct

from tiny_models import HIDDEN, config, count, shapes, write_safetensors

BOS, EOS = "<s>", "</s>"


def byte_alphabet():
    """The character that stands for each byte in byte-level vocabularies."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in shown]
    return {
        **{byte: chr(byte) for byte in shown},
        **{byte: chr(256 + i) for i, byte in enumerate(rest)},
    }


ALPHABET = byte_alphabet()


def token_of(piece, vocabulary):
    """A byte's own token, or a new one."""
    if len(piece) == 1:
        return piece[0]
    name = "".join(ALPHABET[byte] for byte in piece)
    assert name not in vocabulary, f"{piece} occurs twice"
    vocabulary[name] = len(vocabulary) + 2
    return vocabulary[name]


def write_scripted_folder(folder, answers, norm=1.0, context=128):
    """A model whose next token depends on the last one alone.

    `answers`: from the last byte of a prompt, or BOS, to the pieces of text that follow,
    one a token; the last may be EOS. After its last piece a model repeats it.
    The tokenizer has a token for each byte, and one for each longer piece,
    which no text is encoded to; a text's ids begin with BOS. `norm` is the value
    of all norms' weights, `context` how many tokens a text may have.
    """
    vocabulary = {ALPHABET[byte]: byte for byte in range(256)}
    special = {BOS: 256, EOS: 257}
    followers = {token: token for token in range(258)}
    for last, pieces in answers.items():
        at = special[BOS] if last == BOS else last[0]
        for piece in pieces:
            token = special[EOS] if piece == EOS else token_of(piece, vocabulary)
            followers[at] = token
            followers[token] = token
            at = token
    folder.mkdir()
    write_weights(folder, [followers[t] for t in sorted(followers)], norm, context)
    write_tokenizer(folder, vocabulary, special)
    return folder


def write_weights(folder, followers, norm, context):
    """No layer adds anything: the output is looked up for the embedding."""
    c = config(
        vocab_size=len(followers),
        eos_token_id=257,
        max_position_embeddings=context,
    )
    (folder / "config.json").write_text(json.dumps(c))
    draw = random.Random(1)
    embeddings = [unit_vector(draw) for _ in followers]
    head = [[0.0] * HIDDEN for _ in followers]
    for token, follower in enumerate(followers):
        head[follower] = [a + 4 * b for a, b in zip(head[follower], embeddings[token])]
    tensors = {}
    for name, shape in shapes(c).items():
        values = [norm if "norm" in name else 0.0] * count(shape)
        if name == "model.embed_tokens.weight":
            values = [x for row in embeddings for x in row]
        if name == "lm_head.weight":
            values = [x for row in head for x in row]
        tensors[name] = (shape, struct.pack(f"<{len(values)}f", *values))
    write_safetensors(folder / "model.safetensors", tensors)


def unit_vector(draw):
    values = [draw.gauss(0, 1) for _ in range(HIDDEN)]
    length = math.sqrt(sum(x * x for x in values))
    return [x / length for x in values]


def write_tokenizer(folder, vocabulary, special):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    bos = {"SpecialToken": {"id": BOS, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": number,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, number in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, text],
            "pair": [bos, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                BOS: {"id": BOS, "ids": [special[BOS]], "tokens": [BOS]}
            },
        },
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    names = {"bos_token": BOS, "eos_token": EOS}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
