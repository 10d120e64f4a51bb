"""The tiny checkpoints of the families that are not Llama, and of the ways to
scale rotary positions, as data (tiny_cases.py says what a case is)."""

from tiny_cases import LLAMA3_SCALING, OLD_ROPE, Case, shape

SMALL = shape(32, 48, 2, 1, vocab=96)
# Three layers, so that one can differ from those beside it.
THREE = shape(32, 32, 2, 1, vocab=80, layers=3)
# Heads wide enough for all bands of YaRN's waves.
WIDE = shape(32, 32, 2, 1, vocab=96, layers=1, head_dim=32)
# Prompts that pass through the program in two chunks.
LONG = {"prompt_lengths": (3, 530), "nll_lengths": (2, 560)}
LONG_SHAPE = shape(32, 32, 2, 1, vocab=96, layers=1)

YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
# Prompts below, across and beyond a context of 24 tokens.
DYNAMIC_LENGTHS = {"prompt_lengths": (3, 18, 30), "nll_lengths": (2, 40)}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.5}


def mistral(name, seed, config, **more):
    return Case(name, seed, config, model_type="mistral", **more)


def qwen2(name, seed, config, **more):
    return Case(name, seed, config, model_type="qwen2", **more)


def qwen3(name, seed, config, **more):
    return Case(name, seed, config, model_type="qwen3", **more)


FAMILIES = [
    mistral("mistral_window", 101, SMALL | {"sliding_window": 6}),
    # The window is longer than the prompts, and is passed by what follows.
    mistral(
        "mistral_window_reached",
        102,
        shape(32, 32, 4, 2, vocab=64, sliding_window=17, head_dim=12),
        dtype="float16",
    ),
    mistral(
        "mistral_no_window", 103, SMALL | {"sliding_window": None}, eos="config"
    ),
    mistral(
        "mistral_default_window", 104, SMALL, edits={"sliding_window": None}
    ),
    mistral(
        "mistral_window_across_chunks",
        105,
        LONG_SHAPE | {"sliding_window": 300, "max_position_embeddings": 1024},
        **LONG,
    ),
    mistral(
        "mistral_window_beyond_chunk",
        106,
        LONG_SHAPE | {"sliding_window": 520, "max_position_embeddings": 1024},
        **LONG,
    ),
    mistral(
        "mistral_llama3",
        107,
        WIDE
        | {
            "sliding_window": 9,
            "rope_parameters": {"rope_theta": 10000.0} | LLAMA3_SCALING,
        },
    ),
    # Ministral is a Llama whose layers slide where "layer_types" says so.
    Case(
        "llama_layer_types",
        108,
        THREE
        | {
            "head_dim": 16,
            "sliding_window": 5,
            "layer_types": [
                "sliding_attention",
                "full_attention",
                "sliding_attention",
            ],
        },
        model_type="ministral",
        edits={"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    ),
    qwen2("qwen2", 111, shape(32, 32, 4, 2, vocab=96)),
    qwen2(
        "qwen2_tied",
        112,
        shape(48, 32, 3, 1, vocab=80, tie_word_embeddings=True),
        edits={"sliding_window": 4096},
        shards=2,
    ),
    # The window does not count unless it is used.
    qwen2(
        "qwen2_window_unused",
        113,
        SMALL,
        edits={"sliding_window": 3, "layer_types": None},
    ),
    qwen2(
        "qwen2_max_window_layers",
        114,
        THREE
        | {
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 1,
        },
        edits={"layer_types": None},
    ),
    qwen2(
        "qwen2_layer_types",
        115,
        THREE
        | {
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 3,
            "layer_types": [
                "full_attention",
                "sliding_attention",
                "full_attention",
            ],
        },
    ),
    qwen2(
        "qwen2_yarn_old_spelling",
        116,
        WIDE,
        edits=OLD_ROPE
        | {
            "rope_theta": 1000000.0,
            "rope_scaling": {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    qwen2(
        "qwen2_linear",
        117,
        SMALL
        | {
            "rope_parameters": {
                "rope_type": "linear",
                "rope_theta": 1000000.0,
                "factor": 3.0,
            }
        },
    ),
    qwen3("qwen3", 121, shape(32, 32, 4, 2, vocab=64, head_dim=16)),
    qwen3(
        "qwen3_tied_biases",
        122,
        shape(32, 32, 4, 1, vocab=96, head_dim=12, attention_bias=True)
        | {"tie_word_embeddings": True},
        dtype="float16",
    ),
    qwen3(
        "qwen3_layer_types",
        123,
        THREE
        | {
            "head_dim": 20,
            "use_sliding_window": True,
            "sliding_window": 7,
            "max_window_layers": 2,
        },
        eos="generation_config",
    ),
    qwen3(
        "qwen3_head_dim_absent",
        124,
        shape(32, 32, 1, 1, vocab=64, layers=1, head_dim=128),
        edits={"head_dim": None},
    ),
    qwen3(
        "qwen3_yarn",
        125,
        WIDE | {"rope_parameters": YARN | {"rope_theta": 1000000.0}},
    ),
    qwen3(
        "qwen3_llama3",
        126,
        WIDE | {"rope_parameters": {"rope_theta": 50000.0} | LLAMA3_SCALING},
    ),
    Case("rope_yarn", 131, WIDE | {"rope_parameters": YARN}),
    Case(
        "rope_yarn_attention_factor",
        132,
        WIDE
        | {
            "rope_parameters": YARN
            | {
                "attention_factor": 0.75,
                "beta_fast": 8.0,
                "beta_slow": 2.0,
                "truncate": False,
            }
        },
    ),
    Case(
        "rope_yarn_mscale",
        133,
        WIDE
        | {"rope_parameters": YARN | {"mscale": 1.0, "mscale_all_dim": 0.5}},
    ),
    # One of the two alone does not count.
    Case(
        "rope_yarn_old_spelling",
        134,
        WIDE,
        edits=OLD_ROPE
        | {
            "original_max_position_embeddings": 48,
            "rope_scaling": {
                "type": "yarn",
                "factor": 16.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    Case(
        "rope_dynamic",
        141,
        SMALL | {"max_position_embeddings": 24, "rope_parameters": DYNAMIC},
        **DYNAMIC_LENGTHS,
    ),
    qwen2(
        "qwen2_dynamic_old_spelling",
        142,
        SMALL | {"max_position_embeddings": 24},
        edits=OLD_ROPE | {"rope_scaling": {"type": "dynamic", "factor": 4.0}},
        **DYNAMIC_LENGTHS,
    ),
    mistral(
        "mistral_dynamic_window",
        143,
        SMALL
        | {
            "max_position_embeddings": 24,
            "sliding_window": 8,
            "rope_parameters": DYNAMIC,
        },
        **DYNAMIC_LENGTHS,
    ),
    Case(
        "rope_dynamic_across_chunks",
        144,
        LONG_SHAPE | {"rope_parameters": DYNAMIC | {"factor": 4.0}},
        **LONG,
    ),
]
