#!/usr/bin/env python3
"""Compares how llamlx reads and writes npz files with numpy and mlx.

Files of every type, shape and order of values that numpy.savez,
numpy.savez_compressed and mx.savez write are read and written again by
npz_copy, whole and in blocks of rows: numpy and mlx must find the same names,
types, shapes and bits in the copy. What numpy can save and llamlx does not
read must be refused by name. Runs in an environment with mlx and numpy.
"""

import argparse
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from program import Report

SHAPES = ((), (1,), (7,), (3, 5), (1, 4), (4, 1), (2, 3, 4), (0,), (3, 0))
NUMPY_TYPES = "?bBhHiIqQefdF"
MLX_TYPES = (
    "bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 "
    "bfloat16 float32 complex64"
).split()


def random_bits(generator, dtype, shape):
    """An array of any bits that `dtype` allows."""
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return np.array(generator.integers(0, 2, shape), dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(generator.bytes(count), dtype).reshape(shape)


def numpy_arrays(generator):
    arrays = {}
    for kind in NUMPY_TYPES:
        dtype = np.dtype(kind)
        for shape in SHAPES:
            values = random_bits(generator, dtype, shape)
            name = f"{dtype.name}.{'x'.join(map(str, shape))}"
            arrays[name] = values
            arrays[f"{name}.fortran"] = np.asfortranarray(values)
            if values.ndim > 1:
                arrays[f"{name}.transposed"] = values.T
    arrays["bfloat16"] = random_bits(generator, "V2", (3, 5))
    arrays["a"] = arrays["a.b"] = np.arange(3)
    arrays["größe/模型"] = np.arange(4.0)
    return arrays


def mlx_arrays(generator):
    arrays = {}
    for kind in MLX_TYPES:
        for shape in SHAPES:
            values = mx.array(generator.normal(0, 50, shape))
            values = values.astype(mx.float32).astype(getattr(mx, kind))
            name = f"{kind}.{'x'.join(map(str, shape))}"
            arrays[name] = values
            if values.ndim > 1:
                arrays[f"{name}.transposed"] = values.T
    return arrays


def bits(array):
    """(type, shape, bytes) of an array of numpy or mlx, row by row."""
    if isinstance(array, mx.array):
        kind = str(array.dtype).removeprefix("mlx.core.")
        if kind == "bfloat16":
            array = array.view(mx.uint16)
        array = np.array(array)
    else:
        kind = "bfloat16" if array.dtype.kind == "V" else array.dtype.name
    kind = kind.rstrip("_")
    return kind, array.shape, np.ascontiguousarray(array).tobytes()


def compare(report, name, got, wanted):
    report.equal(f"{name}: names", sorted(got), sorted(wanted))
    for key in sorted(set(got) & set(wanted)):
        a, b = bits(got[key]), bits(wanted[key])
        report.expect(f"{name}: {key}", a == b, f"{a[:2]} for {b[:2]}")


def check_archive(report, name, path):
    """A sound archive whose values can be mapped."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        report.equal(f"{name}: checksums", archive.testzip(), None)
        for entry in archive.infolist():
            lengths = struct.unpack_from("<HH", data, entry.header_offset + 26)
            begin = entry.header_offset + 30 + sum(lengths)
            header = struct.unpack_from("<H", data, begin + 8)[0]
            values = begin + 10 + header
            report.equal(f"{name}: {entry.filename} begins", values % 64, 0)


def check_copy(report, npz_copy, name, source, wanted, scratch):
    for rows in (0, 2):
        for_rows = f"{name}, blocks of {rows}" if rows else name
        copy = scratch / "copy.npz"
        command = [npz_copy, source, copy, str(rows)]
        done = subprocess.run(command, capture_output=True, check=False)
        said = done.stderr.decode(errors="replace").strip()
        report.expect(f"{for_rows}: copied", done.returncode == 0, said)
        with np.load(copy) as arrays:
            compare(report, f"{for_rows}, by numpy", dict(arrays), wanted)
        # mlx has float64 for the CPU alone, and np.array() cannot take it.
        loaded = {
            key: values
            for key, values in mx.load(str(copy)).items()
            if values.dtype != mx.float64
        }
        kept = {k: v for k, v in wanted.items() if bits(v)[0] != "float64"}
        compare(report, f"{for_rows}, by mlx", loaded, kept)
        check_archive(report, for_rows, copy)


def check_refused(report, npz_copy, name, array, words, scratch):
    source = scratch / "refused.npz"
    np.savez(source, tensor=array)
    command = [npz_copy, source, scratch / "none.npz"]
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    refused = done.returncode == 1 and all(
        word in said for word in ("refused.npz", "tensor.npy", words)
    )
    report.expect(f"{name}: refused", refused, said)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("npz_copy", type=Path, help="llamlx_npz_copy")
    npz_copy = parser.parse_args().npz_copy.resolve()
    report, generator = Report(), np.random.default_rng(1)
    mx.set_default_device(mx.cpu)
    by_numpy, by_mlx = numpy_arrays(generator), mlx_arrays(generator)
    savers = {
        "numpy.savez": (np.savez, by_numpy),
        "numpy.savez_compressed": (np.savez_compressed, by_numpy),
        "mx.savez": (mx.savez, by_mlx),
        "mx.savez_compressed": (mx.savez_compressed, by_mlx),
    }
    refused = {
        "big-endian": (np.arange(3, dtype=">f4"), "is big-endian (>f4)"),
        "objects": (np.array([{}]), "Python objects"),
        "strings": (np.array(["text"]), "the type <U4"),
        "records": (np.zeros(2, "f4,i4"), "records"),
        "dates": (np.zeros(2, "M8[s]"), "the type <M8[s]"),
        "complex128": (np.zeros(2, "D"), "the type <c16"),
    }
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, (save, arrays) in savers.items():
            source = scratch / "source.npz"
            save(str(source), **arrays)
            report.attempt(
                name,
                lambda n=name, s=source, a=arrays: check_copy(
                    report, npz_copy, n, s, a, scratch
                ),
            )
        for name, (array, words) in refused.items():
            check_refused(report, npz_copy, name, array, words, scratch)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
