"""Reads .npz files, so that two can be compared to the last bit. Standard
library alone."""

import ast
import math
import struct
import zipfile

MAGIC = b"\x93NUMPY"


def read_npz(path):
    """Name -> (type as the file spells it, shape, bytes)."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip():
            raise RuntimeError(f"{path}: a wrong checksum")
        return {
            entry.removesuffix(".npy"): _parse(f"{path}: {entry}", data)
            for entry in archive.namelist()
            for data in [archive.read(entry)]
        }


def _parse(name, data):
    if not data.startswith(MAGIC):
        raise RuntimeError(f"{name}: not a .npy file")
    kind, start = ("<H", 10) if data[6] == 1 else ("<I", 12)
    end = start + struct.unpack_from(kind, data, 8)[0]
    header = ast.literal_eval(data[start:end].decode("latin-1").strip())
    shape, values = header["shape"], data[end:]
    # Both orders are the same where one axis alone has more than one value, and
    # MLX then calls it either.
    if header["fortran_order"] and sum(extent > 1 for extent in shape) > 1:
        raise RuntimeError(f"{name}: columns first")
    if len(values) != math.prod(shape) * int(header["descr"][2:]):
        raise RuntimeError(f"{name}: {len(values)} bytes of {shape}")
    return header["descr"], list(shape), values
