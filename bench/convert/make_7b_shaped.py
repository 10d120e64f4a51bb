#!/usr/bin/env python3
"""Writes a Meta checkpoint in the shape of a Llama of 7B: its names, sizes and
files, and random weights. Whole it has 13 GB, in two files.

    make_7b_shaped.py some/folder
    make_7b_shaped.py some/folder --layers 2 --shards 4 --dtype bfloat16

Standard library alone.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "oracles"))
from meta_layout import FILE_NAME, cut_axis, parameter_shapes  # noqa: E402
from torch_zip import TYPES, write_torch_zip  # noqa: E402

PARAMS = {
    "dim": 4096,
    "multiple_of": 256,
    "n_heads": 32,
    "n_layers": 32,
    "norm_eps": 1e-05,
    "vocab_size": -1,
}
HIDDEN_DIM = 11008
VOCAB = 32000


def cut(name, shape, shards):
    axis = cut_axis(name, len(shape))
    if axis is None:
        return shape
    return tuple(n // shards if i == axis else n for i, n in enumerate(shape))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=PARAMS["n_layers"])
    parser.add_argument(
        "--shards", type=int, default=2, choices=(1, 2, 4, 8, 16, 32)
    )
    parser.add_argument("--dtype", default="float16", choices=TYPES)
    args = parser.parse_args()
    params = PARAMS | {"n_layers": args.layers}
    shapes = parameter_shapes(params, HIDDEN_DIM, VOCAB)
    part = {n: cut(n, shape, args.shards) for n, shape in shapes.items()}
    head_dim = params["dim"] // params["n_heads"]
    part["rope.freqs"] = (head_dim // 2,)
    args.folder.mkdir(parents=True, exist_ok=True)
    for shard in range(args.shards):
        path = args.folder / FILE_NAME.format(shard)
        write_torch_zip(path, part, args.dtype)
        print(f"{path}: {path.stat().st_size / 1e9:.2f} GB", flush=True)
    (args.folder / "params.json").write_text(json.dumps(params) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
