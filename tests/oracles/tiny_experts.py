"""The tiny checkpoints of mixtures of experts, as data (tiny_cases.py says what
a case is), and the names that their experts are stored by."""

import re

from tiny_cases import OLD_ROPE, Case, shape

SMALL = shape(32, 40, 2, 1, vocab=96)
THREE = shape(32, 48, 2, 1, vocab=80, layers=3)
# Layers that slide, and prompts that pass through the program in two chunks.
LONG = {"prompt_lengths": (3, 530), "nll_lengths": (2, 560)}


# Groups of 32 and 64 divide every width.
DIVIDED = shape(64, 64, 2, 1, vocab=96, layers=1)


def experts(count, used):
    """Of both families, as transformers calls it."""
    return {"num_local_experts": count, "num_experts_per_tok": used}


def mixtral(name, seed, config, **more):
    return Case(name, seed, config, model_type="mixtral", **more)


def qwen3_moe(name, seed, config, inner, **more):
    keys = {"head_dim": 16, "moe_intermediate_size": inner}
    return Case(name, seed, keys | config, model_type="qwen3_moe", **more)


EXPERTS = [
    mixtral("mixtral", 301, SMALL | experts(4, 2)),
    mixtral("mixtral_one_expert", 302, SMALL | experts(3, 1), dtype="float16"),
    # Sizes that no kernel's width divides.
    mixtral(
        "mixtral_all_experts",
        303,
        shape(36, 20, 3, 1, vocab=70) | experts(3, 3) | {"sliding_window": 7},
        eos="config",
    ),
    # What is absent is what transformers takes for granted.
    mixtral(
        "mixtral_defaults",
        304,
        shape(32, 16, 2, 1, vocab=80, layers=1) | experts(8, 2),
        edits={
            "num_local_experts": None,
            "num_experts_per_tok": None,
            "rms_norm_eps": None,
            "rope_parameters": None,
            "sliding_window": None,
        },
        embed_std=0.01,
        shards=3,
    ),
    mixtral(
        "mixtral_across_chunks",
        305,
        shape(32, 16, 2, 1, vocab=96, layers=1, max_position_embeddings=1024)
        | experts(5, 2),
        **LONG,
    ),
    mixtral("mixtral_groups_divide", 306, DIVIDED | experts(4, 2)),
    qwen3_moe(
        "qwen3_moe", 311, SMALL | experts(8, 3) | {"norm_topk_prob": True}, 24
    ),
    # As its own config.json spells the number of experts.
    qwen3_moe(
        "qwen3_moe_weights_as_they_are",
        312,
        SMALL | experts(6, 2) | {"norm_topk_prob": False},
        20,
        dtype="float16",
        edits={"num_local_experts": None, "num_experts": 6},
    ),
    qwen3_moe(
        "qwen3_moe_mlp_only_layers",
        313,
        THREE | experts(4, 2) | {"mlp_only_layers": [0, 2]},
        24,
        eos="generation_config",
    ),
    qwen3_moe(
        "qwen3_moe_sparse_step",
        314,
        THREE
        | experts(4, 1)
        | {"decoder_sparse_step": 2, "norm_topk_prob": True},
        28,
        dtype="float32",
    ),
    qwen3_moe(
        "qwen3_moe_all_experts",
        315,
        shape(32, 32, 2, 1, vocab=96, tie_word_embeddings=True)
        | experts(5, 5)
        | {"use_sliding_window": True, "sliding_window": 6},
        12,
        edits={"mlp_only_layers": None, "norm_topk_prob": None},
        shards=2,
    ),
    qwen3_moe(
        "qwen3_moe_groups_divide",
        316,
        DIVIDED | experts(4, 2) | {"norm_topk_prob": True, "head_dim": 32},
        64,
        # As the models that there are spell it.
        edits=OLD_ROPE | {"num_local_experts": None, "num_experts": 4},
    ),
]

# Of a model type: the module of a layer, and what its experts' projections are
# called.
NAMES = {
    "mixtral": ("block_sparse_moe", ("w1", "w3", "w2")),
    "qwen3_moe": ("mlp", ("gate_proj", "up_proj", "down_proj")),
}


STACKED = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}


def by_stack(tensors):
    """What experts have no part in, and, by the name that mlx_lm gives all of
    them together, the experts' in their order."""
    whole, stacks = {}, {}
    for name, value in tensors.items():
        found = re.fullmatch(r"(.*)\.experts\.(\d+)\.(\w+)(\.weight)", name)
        if not found:
            whole[name] = value
            continue
        module, expert, projection, part = found.groups()
        projection = STACKED.get(projection, projection)
        name = f"{module}.switch_mlp.{projection}{part}"
        stacks.setdefault(name, {})[int(expert)] = value
    return whole, {
        name: [values[i] for i in range(len(values))]
        for name, values in stacks.items()
    }


def stack(tensors):
    """Name -> (dtype, shape, bytes), experts joined."""
    whole, stacks = by_stack(tensors)
    for name, values in stacks.items():
        dtype, shape, _ = values[0]
        joined = b"".join(data for _, _, data in values)
        whole[name] = (dtype, [len(values), *shape], joined)
    return whole


def stored(model):
    """The parameters of a model by the names they are stored by: transformers
    joins experts in memory, and takes them apart when it saves."""
    for name, parameter in model.named_parameters():
        values = parameter.detach()
        if model.config.model_type not in NAMES or ".mlp." not in name:
            yield name, values
            continue
        module, (gate, up, down) = NAMES[model.config.model_type]
        if ".mlp.experts." not in name:
            yield name.replace(".mlp.", f".{module}."), values
            continue
        prefix = name[: name.index("mlp.")] + module + ".experts"
        for expert, weight in enumerate(values):
            if name.endswith("down_proj"):
                yield f"{prefix}.{expert}.{down}.weight", weight
                continue
            halves = weight.chunk(2)
            yield f"{prefix}.{expert}.{gate}.weight", halves[0]
            yield f"{prefix}.{expert}.{up}.weight", halves[1]
