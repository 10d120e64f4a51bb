"""The tiny checkpoints that tests/data/tiny holds, as data: what a case is, and
the Llamas (tiny_families.py has the others).

Every case varies one thing that a config.json or its files can say. `config`
holds arguments of transformers' config of that model type; `edits` are made to
the config.json that transformers wrote (None removes the key), so that older
and sparser spellings are tried too.
"""

from dataclasses import dataclass, field

# The older spelling of positions, as transformers 4 wrote it.
OLD_ROPE = {
    "rope_parameters": None,
    "rope_theta": 10000.0,
    "rope_scaling": None,
}

LLAMA3_SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    # Small, so that all three bands of wavelengths occur in a small head.
    "original_max_position_embeddings": 64,
    "rope_type": "llama3",
}


@dataclass(frozen=True)
class Case:
    """One checkpoint: what is random follows from `seed`."""

    name: str
    seed: int
    config: dict
    dtype: str = "bfloat16"
    edits: dict = field(default_factory=dict)
    shards: int = 1
    # Writes the rotary frequencies that old checkpoints carry as a tensor.
    inv_freq: bool = False
    # The standard deviation of the embeddings; None: the usual one.
    embed_std: float | None = None
    # "config": an end-of-sequence token that the model reaches;
    # "generation_config": a list there, which overrides another in the config.
    eos: str | None = None
    # Takes the first weights that are drawn, however close their answers are;
    # the checks name the steps they leave out.
    any_draw: bool = False
    # mlx_lm's settings of packed weights by a part of a module's name, "" for
    # all others; None: they are dense.
    packing: dict | None = None
    model_type: str = "llama"
    prompt_lengths: tuple = (1, 5, 12)
    nll_lengths: tuple = (2, 40)

    @property
    def dynamic(self):
        """Whether positions turn as the length of the sequence asks."""
        for keys in (self.config, self.edits):
            for name in ("rope_parameters", "rope_scaling"):
                rope = keys.get(name) or {}
                if "dynamic" in (rope.get("rope_type"), rope.get("type")):
                    return True
        return False


def shape(hidden, inner, heads, kv_heads, vocab=128, layers=2, **more):
    """The keys every case needs."""
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | more


SMALL = shape(32, 64, 2, 1)

LLAMAS = [
    # A config as the first Llama's was: whatever can be absent is absent.
    Case(
        "mha_llama1",
        1,
        shape(64, 96, 4, 4),
        dtype="float16",
        edits={
            "num_key_value_heads": None,
            "head_dim": None,
            "rope_parameters": None,
            "attention_bias": None,
            "mlp_bias": None,
            "tie_word_embeddings": None,
            "dtype": None,
            "torch_dtype": "float16",
        },
        inv_freq=True,
    ),
    Case("gqa_4_2", 2, shape(64, 128, 4, 2)),
    Case("mqa_4_1", 3, shape(96, 96, 3, 1)),
    Case("heads_7_1_width_112", 4, shape(112, 160, 7, 1), dtype="float16"),
    Case("head_dim_24", 5, shape(64, 96, 4, 2, head_dim=24)),
    Case("head_dim_32", 6, shape(64, 96, 4, 4, head_dim=32)),
    Case("head_dim_64", 7, shape(32, 96, 2, 1, head_dim=64)),
    Case("attention_bias", 8, shape(64, 96, 4, 2, attention_bias=True)),
    Case("mlp_bias", 9, shape(64, 96, 4, 2, mlp_bias=True)),
    Case(
        "all_biases_float32",
        10,
        shape(32, 64, 4, 2, attention_bias=True, mlp_bias=True),
        dtype="float32",
    ),
    Case("tied", 11, shape(64, 96, 4, 2, vocab=160, tie_word_embeddings=True)),
    Case(
        "tie_absent",
        12,
        SMALL,
        dtype="float32",
        edits={"tie_word_embeddings": None},
    ),
    Case("sharded", 13, shape(64, 64, 4, 2, vocab=320), shards=5),
    Case("sharded_float32", 14, SMALL, dtype="float32", shards=3),
    Case(
        "rope_theta_old_spelling",
        15,
        SMALL,
        edits=OLD_ROPE | {"rope_theta": 500000.0},
    ),
    Case(
        "rope_theta",
        16,
        SMALL
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
    ),
    Case(
        "rope_linear_old_spelling",
        17,
        SMALL,
        edits=OLD_ROPE | {"rope_scaling": {"type": "linear", "factor": 2.0}},
    ),
    Case(
        "rope_linear",
        18,
        SMALL
        | {
            "rope_parameters": {
                "rope_type": "linear",
                "rope_theta": 20000.0,
                "factor": 4.0,
            }
        },
    ),
    Case(
        "rope_llama3_old_spelling",
        19,
        shape(32, 64, 2, 1, head_dim=32),
        edits=OLD_ROPE
        | {"rope_theta": 500000.0, "rope_scaling": LLAMA3_SCALING},
    ),
    Case(
        "rope_llama3",
        20,
        shape(32, 64, 2, 1, head_dim=32)
        | {"rope_parameters": {"rope_theta": 10000.0} | LLAMA3_SCALING},
    ),
    # Small activations, beside which epsilon counts.
    Case(
        "rms_norm_eps_1e_6", 21, SMALL | {"rms_norm_eps": 1e-6}, embed_std=1e-3
    ),
    Case(
        "rms_norm_eps_1e_5", 22, SMALL | {"rms_norm_eps": 1e-5}, embed_std=1e-3
    ),
    Case("short_context", 23, SMALL | {"max_position_embeddings": 48}),
    Case("eos_in_config", 24, SMALL, eos="config"),
    Case("eos_list_in_generation_config", 25, SMALL, eos="generation_config"),
    # Groups of 32, 64 and 128 divide every width of the first; none divides a
    # width of the second.
    Case("groups_divide", 26, shape(128, 128, 4, 2)),
    Case("groups_do_not_divide", 27, shape(40, 72, 5, 5, vocab=130, layers=1)),
    Case("three_layers", 28, shape(32, 48, 4, 1, vocab=300, layers=3)),
]
