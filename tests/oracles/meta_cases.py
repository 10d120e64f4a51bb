"""The tiny checkpoints in Meta's files that tests/data/meta holds, as data.

`params` is params.json as it is written; what it does not tell (the rows of
w1, how many tokens) and how the files lie stand beside it.
"""

from dataclasses import dataclass

from meta_layout import FILE_NAME

# Tokens of the tokenizer in tests/data/sentencepiece.
TEXT_VOCAB = 352


@dataclass(frozen=True)
class MetaCase:
    """One checkpoint: what is random follows from `seed`."""

    name: str
    seed: int
    params: dict
    dtype: str = "float16"
    hidden_dim: int = 64
    vocab: int = 128
    shards: int = 1
    file_name: str = FILE_NAME
    # The embedding is cut by tokens, as Llama 3's is, not by columns.
    vocab_rows: bool = False
    # torch.save's format before 1.6.
    older_stream: bool = False
    # Rotary frequencies among the tensors: None, "model", or "layers".
    frequencies: str | None = None
    # "whole": a shard's tensors are views of the whole ones' storage;
    # "tied": output and tok_embeddings are one storage.
    storage: str | None = None
    nll_lengths: tuple = (2, 40)
    # How far float32 may be from float64 in a logit: angles of late positions
    # are large, and rounded accordingly.
    max_error: float = 2e-5

    @property
    def speaks(self):
        """Whether the shared tokenizer is this model's."""
        return self.vocab == TEXT_VOCAB


def params_of(dim, heads, kv_heads=None, layers=2, **more):
    """The keys of a params.json, in the order Meta writes them."""
    params = {"dim": dim}
    if "ffn_dim_multiplier" in more:
        params["ffn_dim_multiplier"] = more.pop("ffn_dim_multiplier")
    params["multiple_of"] = more.pop("multiple_of", 32)
    params["n_heads"] = heads
    if kv_heads:
        params["n_kv_heads"] = kv_heads
    params["n_layers"] = layers
    params["norm_eps"] = more.pop("norm_eps", 1e-5)
    return params | {"vocab_size": -1} | more


SMALL = params_of(32, 2, 1)
LLAMA3 = {"rope_theta": 500000.0, "vocab_size": 128}

CASES = [
    # As the first Llama lay: no key for grouped heads, frequencies in layers.
    MetaCase(
        "llama1_2_shards",
        1,
        params_of(32, 4, norm_eps=1e-6),
        hidden_dim=96,
        shards=2,
        frequencies="layers",
    ),
    MetaCase(
        "llama2_bfloat16",
        2,
        params_of(32, 4, 4),
        dtype="bfloat16",
        vocab=TEXT_VOCAB,
        frequencies="model",
    ),
    MetaCase("llama2_float32", 3, params_of(32, 2, 1, layers=1), "float32"),
    # Groups of 32 and of 64 divide every width.
    MetaCase(
        "groups_divide_2_shards",
        4,
        params_of(64, 4, 2, layers=1),
        vocab=TEXT_VOCAB,
        shards=2,
        frequencies="model",
    ),
    MetaCase(
        "grouped_4_shards",
        5,
        params_of(32, 8, 4),
        dtype="bfloat16",
        shards=4,
    ),
    MetaCase("grouped_8_shards", 6, params_of(64, 16, 8, layers=1), shards=8),
    # One key and value head, cut across two files.
    MetaCase("one_kv_head_2_shards", 7, SMALL, shards=2),
    MetaCase(
        "float32_2_shards",
        8,
        params_of(32, 4, 2, layers=1),
        dtype="float32",
        vocab=96,
        shards=2,
    ),
    # In the order of letters .10 comes before .2.
    MetaCase(
        "unpadded_11_shards",
        9,
        params_of(44, 11, layers=1, multiple_of=11),
        hidden_dim=44,
        vocab=132,
        shards=11,
        file_name="consolidated.{}.pth",
    ),
    MetaCase(
        "llama3_2_shards",
        10,
        params_of(
            32, 4, 2, ffn_dim_multiplier=1.3, multiple_of=32, **LLAMA3
        ),
        dtype="bfloat16",
        hidden_dim=128,
        shards=2,
        vocab_rows=True,
    ),
    MetaCase(
        "llama3_8_shards",
        11,
        params_of(32, 8, 8, layers=1, use_scaled_rope=False, **LLAMA3),
        dtype="bfloat16",
        shards=8,
        vocab_rows=True,
    ),
    MetaCase(
        "llama31_scaled_rope",
        12,
        params_of(64, 2, 1, layers=1, use_scaled_rope=True, **LLAMA3),
        dtype="bfloat16",
        nll_lengths=(2, 250),
        max_error=1e-4,
    ),
    # The key by which Llama 4's params.json tells another factor than 8.
    MetaCase(
        "scaled_rope_factor_32",
        13,
        params_of(
            64,
            2,
            1,
            layers=1,
            use_scaled_rope=True,
            rope_scaling_factor=32.0,
            **LLAMA3,
        ),
        dtype="bfloat16",
        nll_lengths=(2, 250),
        max_error=1e-4,
    ),
    MetaCase(
        "code_llama_theta",
        14,
        params_of(32, 4, 4, rope_theta=1000000, ffn_dim_multiplier=1.0),
        dtype="bfloat16",
    ),
    MetaCase(
        "older_stream", 15, SMALL, older_stream=True, frequencies="model"
    ),
    MetaCase(
        "older_stream_2_shards",
        16,
        params_of(32, 4, 2),
        dtype="bfloat16",
        shards=2,
        older_stream=True,
    ),
    MetaCase("views_of_whole_2_shards", 17, SMALL, shards=2, storage="whole"),
    MetaCase("tied_storage", 18, SMALL, storage="tied"),
    # Widths that follow from no other, as Mistral's params.json states them.
    MetaCase(
        "stated_head_dim",
        19,
        {
            "dim": 32,
            "n_layers": 2,
            "head_dim": 16,
            "hidden_dim": 80,
            "n_heads": 4,
            "n_kv_heads": 2,
            "norm_eps": 1e-5,
            "vocab_size": 128,
        },
        dtype="bfloat16",
        hidden_dim=80,
    ),
    # Keys that mean nothing here, with values whose spelling is easily lost.
    MetaCase(
        "unknown_keys",
        20,
        params_of(
            32,
            2,
            1,
            layers=1,
            rope_theta=10000.0,
            max_seq_len=2048,
            max_batch_size=32,
            _note="caf\u00e9 \u201c1/2\u201d \U0001f600\t\u007f\\",
            _numbers=[0.1, 1e16, 1e-7, 123456789012345680.0, -0.0, 5e-324],
            _nested={"empty": {}, "none": None, "list": [], "flags": [True]},
        ),
    ),
]
