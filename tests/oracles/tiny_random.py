"""Draws a configuration at random, for checkpoints beyond the stored ones."""

import random

from tiny_cases import LLAMA3_SCALING, OLD_ROPE, Case, shape

MODEL_TYPES = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "ministral",
    "mixtral",
    "qwen3_moe",
)


def _yarn(rng):
    scaling = {
        "rope_type": "yarn",
        "factor": rng.choice([1.0, 2.0, 4.0, 8.5]),
        "original_max_position_embeddings": rng.choice([4, 16, 64, 128, 4096]),
    }
    for key, values in {
        "attention_factor": [None, None, 0.8, 1.3],
        "mscale": [None, None, 0.7, 1.0],
        "mscale_all_dim": [None, None, 0.5, 1.0],
        "truncate": [None, True, False],
    }.items():
        value = rng.choice(values)
        if value is not None:
            scaling[key] = value
    if rng.random() < 0.5:
        scaling |= {"beta_fast": rng.choice([2.0, 16.0]), "beta_slow": 1.5}
    return scaling


def _scaling(rng):
    """Some kind of scaling, in transformers 5's words; None: none."""
    kind = rng.choice(["default", "linear", "dynamic", "llama3", "yarn"])
    if kind == "default":
        return None
    if kind == "yarn":
        return _yarn(rng)
    if kind == "llama3":
        return LLAMA3_SCALING | {
            "factor": rng.choice([2.0, 8.0, 32.0]),
            "low_freq_factor": rng.choice([1.0, 2.0]),
            "original_max_position_embeddings": rng.choice([16, 32, 128]),
        }
    return {"rope_type": kind, "factor": rng.choice([2.0, 3.5, 8.0])}


def _rope(rng):
    """Returns (config keys, config.json edits) of some kind of positions."""
    theta = rng.choice([1000.0, 10000.0, 500000.0])
    scaling = _scaling(rng)
    if rng.random() < 0.5:
        rope = {"rope_type": "default", "rope_theta": theta} | (scaling or {})
        return {"rope_parameters": rope}, {}
    edits = OLD_ROPE | {"rope_theta": theta}
    if scaling and rng.random() < 0.5:
        scaling = dict(scaling)
        scaling["type"] = scaling.pop("rope_type")
        if scaling["type"] in ("yarn", "llama3") and rng.random() < 0.5:
            edits["original_max_position_embeddings"] = rng.choice([24, 96])
    return {}, edits | {"rope_scaling": scaling}


def _windows(rng, model_type, layers):
    """Returns (config keys, config.json edits) of which layers slide."""
    window = rng.choice([2, 3, 7, 16, 39, 40, 1000])
    if model_type == "llama":
        return {}, {}
    if model_type in ("mistral", "mixtral"):
        return {"sliding_window": rng.choice([None, window])}, {}
    if model_type == "qwen3_moe":
        used = rng.random() < 0.5
        return {"use_sliding_window": used, "sliding_window": window}, {}
    kinds = ["full_attention", "sliding_attention"]
    if model_type == "ministral":
        types = [rng.choice(kinds) for _ in range(layers)]
        return {"sliding_window": window, "layer_types": types}, {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
        }
    keys = {
        "use_sliding_window": rng.random() < 0.7,
        "sliding_window": window,
        "max_window_layers": rng.randint(0, layers),
    }
    if keys["use_sliding_window"] and rng.random() < 0.3:
        keys["layer_types"] = [rng.choice(kinds) for _ in range(layers)]
        return keys, {}
    return keys, {"layer_types": None} if rng.random() < 0.5 else {}


def _experts(rng, model_type, layers):
    """Returns config keys of how many there are, and where."""
    if model_type not in ("mixtral", "qwen3_moe"):
        return {}
    count = rng.choice([1, 2, 3, 5, 8, 16])
    keys = {
        "num_local_experts": count,
        "num_experts_per_tok": rng.randint(1, count),
    }
    if model_type == "mixtral":
        return keys
    return keys | {
        "moe_intermediate_size": rng.choice([8, 12, 33, 64]),
        "norm_topk_prob": rng.random() < 0.5,
        "decoder_sparse_step": rng.choice([1, 1, 2]),
        "mlp_only_layers": [i for i in range(layers) if rng.random() < 0.2],
    }


def random_case(index, seed):
    """A configuration in which everything is drawn at random."""
    rng = random.Random(f"{seed}/{index}")
    model_type = rng.choice(MODEL_TYPES)
    kv_heads = rng.choice([1, 1, 2, 3, 4])
    heads = kv_heads * rng.choice([1, 2, 3, 4, 7])
    # Transformers wants a width that the number of heads divides.
    hidden = heads * rng.choice([4, 8, 12, 16, 20, 32])
    layers = rng.randint(1, 4)
    rope, rope_edits = _rope(rng)
    windows, window_edits = _windows(rng, model_type, layers)
    config = shape(
        hidden,
        rng.choice([24, 40, 64, 100, 128, 192, 257]),
        heads,
        kv_heads,
        vocab=rng.randint(90, 320),
        layers=layers,
        max_position_embeddings=rng.choice([24, 32, 40, 256]),
        tie_word_embeddings=rng.random() < 0.4,
        rms_norm_eps=rng.choice([1e-6, 1e-5, 1e-4]),
        **rope,
        **windows,
        **_experts(rng, model_type, layers),
    )
    if model_type in ("llama", "qwen3", "qwen3_moe"):
        config["attention_bias"] = rng.random() < 0.3
    if model_type == "llama":
        config["mlp_bias"] = rng.random() < 0.3
    explicit = model_type in ("qwen3", "ministral", "mixtral", "qwen3_moe")
    if explicit or rng.random() < 0.5 or hidden // heads < 8:
        config["head_dim"] = rng.choice([8, 16, 20, 24, 32, 64, 80])
    case = Case(
        f"random_{seed}_{index}",
        1000 * seed + index,
        config,
        model_type=model_type,
        dtype=rng.choice(["float32", "float16", "bfloat16"]),
        edits=rope_edits | window_edits,
        shards=rng.choice([1, 1, 2, 7]),
        eos=rng.choice([None, None, "config", "generation_config"]),
        any_draw=True,
    )
    if not case.dynamic:
        # The context of a prompt and what follows it.
        config["max_position_embeddings"] = 256
    return case
