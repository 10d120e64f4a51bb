"""The tiny checkpoints whose weights are packed in MLX's floating-point modes,
as data (tiny_cases.py says what a case is), and how they are packed: as mlx_lm
writes them. Packing needs mlx."""

import json

import mlx.core as mx
import numpy as np
import torch
from tiny_cases import Case, shape
from torch_answers import write_json

MXFP4 = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
MXFP8 = {"group_size": 32, "bits": 8, "mode": "mxfp8"}
NVFP4 = {"group_size": 16, "bits": 4, "mode": "nvfp4"}
AFFINE = {"group_size": 32, "bits": 8, "mode": "affine"}

SMALL = shape(32, 64, 2, 1, vocab=96)

PACKED = [
    Case("mxfp4", 201, SMALL, packing={"": MXFP4}),
    Case(
        "mxfp8",
        202,
        SMALL | {"head_dim": 16},
        packing={"": MXFP8},
        model_type="qwen3",
    ),
    Case(
        "nvfp4",
        203,
        shape(48, 32, 3, 1, vocab=96, tie_word_embeddings=True),
        packing={"": NVFP4},
        model_type="qwen2",
    ),
    Case(
        "modes_by_module",
        204,
        SMALL,
        packing={
            "": MXFP4,
            "embed_tokens": AFFINE,
            "self_attn.v_proj": NVFP4,
            "down_proj": MXFP8,
        },
    ),
]


def packing_of(case, module):
    """How a module is packed: by the longest part of its name that is told."""
    told = [part for part in case.packing if part in module]
    return case.packing[max(told, key=len)]


def to_mlx(tensor, dtype):
    values = mx.array(tensor.detach().to(torch.float32).numpy())
    return values.astype(getattr(mx, dtype))


def set_to(parameter, values):
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(values.astype(mx.float32))))


def exactly(part):
    """Affine scales and biases in float32, the rest as it is."""
    is_float = mx.issubdtype(part.dtype, mx.floating)
    return part.astype(mx.float32) if is_float else part


def pack(model, case):
    """Packs the matrices of a model, and rounds the rest to its type; the model
    then has the values that are left. Returns the tensors, and what their config
    says."""
    mx.set_default_device(mx.cpu)
    tensors, settings = {}, dict(case.packing[""])
    for name, parameter in model.named_parameters():
        values = to_mlx(parameter, case.dtype)
        if values.ndim == 1:
            tensors[name] = values
            set_to(parameter, values)
            continue
        module = name.removesuffix(".weight")
        packing = packing_of(case, module)
        if packing != case.packing[""]:
            settings[module] = packing
        parts = mx.quantize(values, **packing)
        names = [name, f"{module}.scales", f"{module}.biases"]
        tensors |= dict(zip(names, parts))
        set_to(parameter, mx.dequantize(*map(exactly, parts), **packing))
    return tensors, {"dtype": case.dtype, "quantization": settings}


def write_packed(folder, tensors, keys):
    """Puts them where the folder has the same values unpacked."""
    path = str(folder / "model.safetensors")
    mx.save_safetensors(path, tensors, {"format": "mlx"})
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="ascii"))
    write_json(path, config | keys)
