#!/usr/bin/env python3
"""Saves small files of tensors with torch, and what is in them.

Refills tests/data/torch: every type, views, shared storages and the shapes
checkpoints come in, in both of torch's formats and pickle protocols 2 to 5,
and files that must be refused. cases.json beside them has the types, shapes and
bytes (in hexadecimal, row by row) of the tensors as torch loads them. Needs
torch and numpy.
"""

import collections
import io
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy
import torch

OUT = Path(__file__).resolve().parent.parent / "data" / "torch"
PROTOCOLS = (2, 3, 4, 5)
# Types made by viewing bytes: torch does not compute with all of them.
DTYPES = """
    float32 float16 bfloat16 float64 bool uint8 int8 int16 int32 int64 uint16
    uint32 uint64 complex64 complex128 complex32 float8_e4m3fn float8_e4m3fnuz
    float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2
""".split()


def every_dtype():
    """A tensor of two by three of every type, of bytes that count."""
    tensors = {}
    for name in DTYPES:
        dtype = getattr(torch, name)
        size = torch.empty(0, dtype=dtype).element_size()
        raw = torch.arange(6 * size, dtype=torch.uint8) + 32
        if dtype == torch.bool:
            raw = raw % 2
        tensors[name] = raw.view(dtype).reshape(2, 3)
    return tensors


def views():
    """Tensors that are not their whole storage row by row."""
    base = torch.arange(60, dtype=torch.float32)
    matrix = base.reshape(6, 10)
    cube = base.reshape(3, 4, 5)
    shared = torch.arange(8, dtype=torch.int16).reshape(2, 4)
    with_state = torch.nn.Parameter(torch.full((2,), 7.0))
    with_state.note = "kept with it"
    with_attribute = torch.full((3,), 9, dtype=torch.int8)
    with_attribute.note = "kept with it"
    return {
        "whole": matrix,
        "transposed": matrix.t(),
        "rows": matrix[2:4],
        "columns": matrix[:, 3:7],
        "every_second": base[1::2],
        "last": base[-1:],
        "scalar": base[17],
        "permuted": cube.permute(2, 0, 1),
        "swapped_and_cut": cube.transpose(0, 1)[1:, :2, 1:4],
        "diagonal": matrix.diagonal(),
        "expanded": base[3:5].reshape(2, 1).expand(2, 5),
        "expanded_scalar": base[9].expand(2, 3),
        "windows": base.as_strided((4, 3), (2, 1), 5),
        "ones": base[5:6].reshape(1, 1, 1).expand(1, 1, 1),
        "empty": torch.empty(0, 3),
        "empty_in_the_middle": torch.empty(2, 0, 3, dtype=torch.float16),
        "empty_view": base[20:20],
        "tied": shared,
        "tied_too": shared,
        "tied_transposed": shared.t(),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "parameter_with_state": with_state,
        "tensor_with_attribute": with_attribute,
    }


def module():
    """What most checkpoints are: the state dict of a module."""
    torch.manual_seed(11)
    return torch.nn.Sequential(
        collections.OrderedDict(
            embed=torch.nn.Embedding(7, 4), norm=torch.nn.LayerNorm(4)
        )
    ).state_dict()


def beside():
    """Plain values beside tensors: most kinds that pickles have."""
    return {
        "weight": torch.arange(3.0),
        "none": None,
        "yes": True,
        "step": 3,
        "negative": -70000,
        "long": 2**40,
        "longer": -(2**90),
        "rate": 1e-3,
        "name": "tiny \u00e9",
        "bytes": b"abc",
        "bytearray": bytearray(b"abc"),
        "list": [1, [2, "three"], []],
        "tuple": (1,) * 5,
        "pair": (1, 2),
        "set": {1, 2},
        "frozenset": frozenset([3]),
        "complex": 1 + 2j,
        "dict": {"betas": (0.9, 0.95), 1: 2},
        "size": torch.Size([1, 2]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "layout": torch.strided,
        "storage": torch.arange(4.0).untyped_storage(),
    }


def training(key):
    """A checkpoint of a training: the state dict among other things."""
    return {
        key: {"a.weight": torch.arange(4.0), "b.weight": torch.ones(2, 1)},
        "epoch": 3,
        "optimizer": {
            "state": {0: {"exp_avg": torch.zeros(2)}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
    }


def recursive():
    """A state dict beside a list and a dict that hold themselves."""
    loop = [1]
    loop.append(loop)
    knot = {"loop": loop}
    knot["knot"] = knot
    return {"weight": torch.arange(2.0), "loop": loop, "knot": knot}


def refused():
    """Objects that are no plain state dict, and a word of the refusal."""
    floats = torch.arange(4.0)
    quantized = torch.quantize_per_tensor(floats, 0.1, 0, torch.quint8)
    complexes = torch.zeros(2, dtype=torch.complex64)
    return {
        "quantized": ({"w": quantized}, "torch._utils._rebuild_qtensor"),
        "sparse": (
            {"w": floats.to_sparse()},
            "torch._utils._rebuild_sparse_tensor",
        ),
        "meta": (
            {"w": torch.empty(2, device="meta")},
            "torch._utils._rebuild_meta_tensor_no_storage",
        ),
        "conjugated": ({"w": complexes.conj()}, "tensor w is a conjugated"),
        "module": (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        "numpy": ({"w": floats, "n": numpy.float64(1)}, "scalar"),
        "tensor": (floats, "holds a single tensor"),
        "list": ([floats], "holds a list"),
        "nothing": ({"epoch": 3}, "holds no dict of tensors"),
        "two_dicts": (
            {"model": {"w": floats}, "ema": {"w": floats}},
            'several dicts of tensors, "model" and "ema"',
        ),
        "other_dict": ({"ema": {"w": floats}}, 'in a dict under "ema"'),
        "dict_beside": (
            {"w": floats, "ema": {"w": floats}},
            'a dict of tensors, "ema", beside tensors',
        ),
        "numbered": ({0: floats}, "names a tensor by an integer"),
    }


def save(value, name, use_zip, protocol=2):
    """Saves `value` under `name`, and sees that torch loads it."""
    file = io.BytesIO()
    torch.save(
        value,
        file,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=use_zip,
    )
    file.seek(0)
    try:
        torch.load(file, weights_only=False)
    except AttributeError as error:
        # Streams with UntypedStorage are written, but not read again.
        if use_zip or "UntypedStorage" not in str(error):
            raise
    (OUT / name).write_bytes(file.getvalue())


def describe(tensors):
    """Types, shapes and bytes of the tensors, as cases.json has them."""
    described = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        values = tensor.detach().clone(memory_format=torch.contiguous_format)
        raw = values.reshape(-1).view(torch.uint8) if values.numel() else values
        described[name] = {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "bytes": bytes(raw.numpy().tobytes()).hex(),
        }
    return described


def main():
    warnings.simplefilter("ignore")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    states = {
        "dtypes": (every_dtype(), PROTOCOLS),
        "views": (views(), PROTOCOLS),
        "module": (module(), PROTOCOLS),
        "small": ({"w": torch.arange(3.0)}, (2,)),
        "beside": (beside(), PROTOCOLS),
        "training": (training("model"), (2,)),
        "state_dict": (training("state_dict"), (2,)),
        "recursive": (recursive(), (2, 5)),
    }
    cases = {"torch": torch.__version__, "states": {}, "files": {}}
    for state, (value, protocols) in states.items():
        nested = value.get("model", value.get("state_dict", value))
        cases["states"][state] = describe(nested)
        for use_zip in (True, False):
            for protocol in protocols:
                kind = "zip" if use_zip else "stream"
                name = f"{state}.{kind}.p{protocol}.pth"
                save(value, name, use_zip, protocol)
                cases["files"][name] = state
    cases["refused"] = {}
    for state, (value, word) in refused().items():
        for use_zip in (True, False):
            name = f"{state}.{'zip' if use_zip else 'stream'}.pth"
            save(value, name, use_zip)
            cases["refused"][name] = word
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(OUT / "script.zip.pt"))
    cases["refused"]["script.zip.pt"] = "TorchScript"
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    total = sum(file.stat().st_size for file in OUT.iterdir())
    print(f"{len(cases['files'])} files to read, {len(cases['refused'])} to "
          f"refuse, {total} bytes in all, torch {torch.__version__}")


if __name__ == "__main__":
    sys.exit(main())
