"""Reads and writes GGUF files with the gguf package, in the terms of Hugging
Face. An oracle: nothing here comes from llamlx."""

import re

import gguf
import numpy as np

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k": "self_attn.k_proj",
    "attn_k_norm": "self_attn.k_norm",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Of a layer with experts: Mixtral's module is another.
EXPERT_NAMES = {
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.switch_mlp.gate_proj",
    "ffn_up_exps": "mlp.switch_mlp.up_proj",
    "ffn_down_exps": "mlp.switch_mlp.down_proj",
}
ARCHITECTURES = {"mixtral": "llama", "qwen3_moe": "qwen3moe"}
MIXTRAL = "block_sparse_moe."
OUTER_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
CONTROL, USER_DEFINED = 3, 4


def permute(values, heads):
    """Reorders the rows of q_proj or k_proj as llama.cpp's converter does.

    There neighbouring rows of a head rotate together; Hugging Face pairs row i
    with row i + head_dim / 2.
    """
    halves = values.reshape(heads, 2, -1, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def unpermute(values, heads):
    """Undoes permute()."""
    pairs = values.reshape(heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def hugging_face_name(name, is_mixtral=False):
    """Returns (Hugging Face's name of a GGUF tensor, kind of the tensor); of
    all experts together it is mlx_lm's."""
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(\w+)", name)
    if not layer:
        kind, suffix = name.split(".")
        return f"{OUTER_NAMES[kind]}.{suffix}", kind
    number, kind, suffix = layer.groups()
    module = (LAYER_NAMES | EXPERT_NAMES)[kind]
    if is_mixtral:
        module = module.replace("mlp.", MIXTRAL, 1)
    return f"model.layers.{number}.{module}.{suffix}", kind


def gguf_name(name):
    """Returns (GGUF's name of a Hugging Face tensor, kind of the tensor)."""
    module, suffix = name.rsplit(".", 1)
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
    if not layer:
        kind = {v: k for k, v in OUTER_NAMES.items()}[module]
        return f"{kind}.{suffix}", kind
    names = {v: k for k, v in (LAYER_NAMES | EXPERT_NAMES).items()}
    kind = names[layer[2].replace(MIXTRAL, "mlp.", 1)]
    return f"blk.{layer[1]}.{kind}.{suffix}", kind


class Gguf:
    """Metadata by key, and tensors by Hugging Face's names."""

    def __init__(self, path):
        self._reader = gguf.GGUFReader(path)

    def __getitem__(self, key):
        return self._reader.fields[key].contents()

    def llama_config(self):
        """The arguments of transformers' LlamaConfig."""
        heads = self["llama.attention.head_count"]
        names = {tensor.name for tensor in self._reader.tensors}
        return {
            "hidden_size": self["llama.embedding_length"],
            "intermediate_size": self["llama.feed_forward_length"],
            "num_hidden_layers": self["llama.block_count"],
            "num_attention_heads": heads,
            "num_key_value_heads": self["llama.attention.head_count_kv"],
            "head_dim": self["llama.embedding_length"] // heads,
            "vocab_size": self["llama.vocab_size"],
            "max_position_embeddings": self["llama.context_length"],
            "rms_norm_eps": self["llama.attention.layer_norm_rms_epsilon"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": self["llama.rope.freq_base"],
            },
            "tie_word_embeddings": "output.weight" not in names,
            "bos_token_id": self["tokenizer.ggml.bos_token_id"],
            "eos_token_id": self["tokenizer.ggml.eos_token_id"],
        }

    def tensors(self):
        """Yields (Hugging Face's name, float32 values in its row order)."""
        heads = {}
        is_mixtral = "llama.expert_count" in self._reader.fields
        if self["general.architecture"] == "llama":
            heads = {
                "attn_q": self["llama.attention.head_count"],
                "attn_k": self["llama.attention.head_count_kv"],
            }
        for tensor in self._reader.tensors:
            if tensor.name == "rope_freqs.weight":
                continue
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            name, kind = hugging_face_name(tensor.name, is_mixtral)
            if kind in heads:
                values = unpermute(values, heads[kind])
            yield name, values

    def smollm_tokenizer(self):
        """SmolLM2's tokenizer: every digit by itself, then GPT-2's pattern."""
        from tokenizers import AddedToken, Tokenizer, decoders, models
        from tokenizers import pre_tokenizers as pre

        if self["tokenizer.ggml.pre"] != "smollm":
            raise SystemExit("this oracle knows the smollm pre-tokenizer alone")
        tokens = self["tokenizer.ggml.tokens"]
        merges = [tuple(m.split(" ")) for m in self["tokenizer.ggml.merges"]]
        vocab = {token: i for i, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
        tokenizer.pre_tokenizer = pre.Sequence(
            [
                pre.Digits(individual_digits=True),
                pre.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        for token, kind in zip(tokens, self["tokenizer.ggml.token_type"]):
            if kind in (CONTROL, USER_DEFINED):
                special = kind == CONTROL
                tokenizer.add_special_tokens(
                    [AddedToken(token, normalized=False, special=special)]
                )
        return tokenizer


def llama3_divisors(scaling, theta, head_dim):
    """What llama.cpp's converter puts into rope_freqs.weight."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / head_dim
    wavelengths = 2 * np.pi * np.float32(theta) ** exponents
    factor = scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    old = scaling["original_max_position_embeddings"]
    divisors = []
    for wavelength in wavelengths:
        if wavelength < old / high:
            divisors.append(1.0)
        elif wavelength > old / low:
            divisors.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, dtype=np.float32)


def write_scaling(writer, rope, head_dim):
    """Writes how rotary positions are scaled, each kind in its own way."""
    kind = rope["rope_type"]
    if kind == "llama3":
        divisors = llama3_divisors(rope, rope["rope_theta"], head_dim)
        writer.add_tensor("rope_freqs.weight", divisors)
    elif kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(
            rope["original_max_position_embeddings"]
        )


# Where the float16 of a block lie, in bytes.
K_QUANTS = {
    gguf.GGMLQuantizationType.Q2_K: (80, 82),
    gguf.GGMLQuantizationType.Q3_K: (108,),
    gguf.GGMLQuantizationType.Q4_K: (0, 2),
    gguf.GGMLQuantizationType.Q5_K: (0, 2),
    gguf.GGMLQuantizationType.Q6_K: (208,),
}


def random_blocks(values, kind):
    """Blocks of random bits instead of `values`: the gguf package reads
    K-quants and does not make them."""
    size, length = gguf.GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(values.size)
    shape = (*values.shape[:-1], values.shape[-1] // size, length)
    blocks = random.integers(0, 256, shape, dtype=np.uint8)
    for at in K_QUANTS[kind]:
        halves = random.uniform(-1 / 64, 1 / 64, (*shape[:-1], 1))
        blocks[..., at : at + 2] = halves.astype(np.float16).view(np.uint8)
    return blocks.reshape(*values.shape[:-1], -1)


def quantize(values, kind):
    make = random_blocks if kind in K_QUANTS else gguf.quantize
    return make(values, kind)


def write_model(path, config, tensors, tensor_type):
    """Writes a GGUF as llama.cpp's converter would: norms and biases in
    float32, the other weights in `tensor_type`, and no tokenizer. Rows of
    queries and keys are reordered in a Llama alone.

    `config` is a config.json of transformers 5; `tensors` are float32, and of
    K-quants give the shapes alone.
    """
    model_type = config["model_type"]
    architecture = ARCHITECTURES.get(model_type, model_type)
    writer = gguf.GGUFWriter(str(path), architecture)
    heads = config["num_attention_heads"]
    kv_heads = config["num_key_value_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {
        "rope_type": "default",
        "rope_theta": config["rope_theta"],
    }
    if used := config.get("num_experts_per_tok"):
        inner = config["intermediate_size"]
        count = config.get("num_local_experts") or config.get("num_experts")
        writer.add_expert_count(count)
        writer.add_expert_used_count(used)
        writer.add_expert_feed_forward_length(
            config.get("moe_intermediate_size", inner)
        )
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_freq_base(rope["rope_theta"])
    write_scaling(writer, rope, head_dim)
    permuted = {}
    if architecture == "llama":
        permuted = {"attn_q": heads, "attn_k": kv_heads}
    for name, values in tensors.items():
        target, kind = gguf_name(name)
        if kind in permuted:
            values = permute(values, permuted[kind])
        wanted = tensor_type
        # Routers as well.
        if values.ndim == 1 or kind == "ffn_gate_inp":
            wanted = gguf.GGMLQuantizationType.F32
        data = quantize(values, wanted)
        writer.add_tensor(target, data, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
