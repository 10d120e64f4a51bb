"""Writes small llama checkpoints with random values."""

import array
import json
import os
import random
import struct

HIDDEN, INTERMEDIATE, VOCAB = 64, 128, 96


def config(**changes):
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCAB,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        **changes,
    }


def shapes(c):
    """Names and shapes of all parameters of a model with config `c`."""
    hidden, inner = c["hidden_size"], c["intermediate_size"]
    head_dim = hidden // c["num_attention_heads"]
    key_value = head_dim * c["num_key_value_heads"]
    result = {"model.embed_tokens.weight": [c["vocab_size"], hidden]}
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        result[layer + "input_layernorm.weight"] = [hidden]
        result[layer + "self_attn.q_proj.weight"] = [hidden, hidden]
        result[layer + "self_attn.k_proj.weight"] = [key_value, hidden]
        result[layer + "self_attn.v_proj.weight"] = [key_value, hidden]
        result[layer + "self_attn.o_proj.weight"] = [hidden, hidden]
        result[layer + "post_attention_layernorm.weight"] = [hidden]
        result[layer + "mlp.gate_proj.weight"] = [inner, hidden]
        result[layer + "mlp.up_proj.weight"] = [inner, hidden]
        result[layer + "mlp.down_proj.weight"] = [hidden, inner]
    result["model.norm.weight"] = [hidden]
    result["lm_head.weight"] = [c["vocab_size"], hidden]
    return result


def count(shape):
    result = 1
    for size in shape:
        result *= size
    return result


def random_floats(shape, seed):
    draw = random.Random(seed)
    return array.array("f", (draw.gauss(0, 0.1) for _ in range(count(shape))))


def write_safetensors(path, tensors, dtype="F32", metadata=None):
    """`tensors`: name -> (shape, bytes)."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (shape, data) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, data in tensors.values():
            f.write(data)


def tensors_of(c):
    return {
        name: (shape, random_floats(shape, name).tobytes())
        for name, shape in shapes(c).items()
    }


def write_folder(folder, **changes):
    """A folder in Hugging Face's layout. Returns it."""
    folder.mkdir()
    c = config(**changes)
    (folder / "config.json").write_text(json.dumps(c))
    write_safetensors(folder / "model.safetensors", tensors_of(c))
    return folder


def write_sharded_folder(folder):
    """The same in two shards with an index. Returns the folder."""
    folder.mkdir()
    c = config()
    (folder / "config.json").write_text(json.dumps(c))
    tensors = list(tensors_of(c).items())
    half = len(tensors) // 2
    weight_map = {}
    for i, part in enumerate([tensors[:half], tensors[half:]], 1):
        name = f"model-0000{i}-of-00002.safetensors"
        write_safetensors(folder / name, dict(part))
        weight_map.update({tensor: name for tensor, _ in part})
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_large_folder(folder, layers):
    """About 12.6 MB of bfloat16 a layer, values random bits. Returns it."""
    folder.mkdir()
    c = config(
        hidden_size=512,
        intermediate_size=3072,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        torch_dtype="bfloat16",
    )
    (folder / "config.json").write_text(json.dumps(c))
    # One value, 0x3c.., for the high byte keeps all of them small and finite.
    tensors, sizes = {}, {}
    for name, shape in shapes(c).items():
        size = count(shape)
        if size not in sizes:
            low = os.urandom(size)
            sizes[size] = bytes(b for pair in zip(low, b"\x3c" * size) for b in pair)
        tensors[name] = (shape, sizes[size])
    write_safetensors(folder / "model.safetensors", tensors, dtype="BF16")
    return folder


GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    if name in GGUF_NAMES:
        return GGUF_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest[:-7]]}.weight"


def gguf_text(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_value(value):
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    return struct.pack("<I", 8) + gguf_text(value)


def write_gguf(path, architecture="llama"):
    """A GGUF file, float32, without a tokenizer. Returns its path."""
    c = config()
    metadata = {
        "general.architecture": architecture,
        f"{architecture}.block_count": c["num_hidden_layers"],
        f"{architecture}.context_length": c["max_position_embeddings"],
        f"{architecture}.embedding_length": HIDDEN,
        f"{architecture}.feed_forward_length": INTERMEDIATE,
        f"{architecture}.attention.head_count": c["num_attention_heads"],
        f"{architecture}.attention.head_count_kv": c["num_key_value_heads"],
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{architecture}.rope.freq_base": 10000.0,
        f"{architecture}.vocab_size": VOCAB,
    }
    tensors = tensors_of(c)
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        out += gguf_text(key) + gguf_value(value)
    offset = 0
    for name, (shape, data) in tensors.items():
        sizes = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        out += gguf_text(gguf_name(name)) + struct.pack("<I", len(shape)) + sizes
        out += struct.pack("<IQ", 0, offset)
        offset += -(-len(data) // 32) * 32
    out += b"\0" * (-len(out) % 32)
    for _, data in tensors.values():
        out += data + b"\0" * (-len(data) % 32)
    path.write_bytes(out)
    return path


def read_safetensors(path):
    """The header and the data of a safetensors file."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + size]), content[8 + size :]
