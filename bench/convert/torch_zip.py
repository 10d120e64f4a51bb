"""Writes the files that torch.save writes, of values that repeat one block of
random bytes, so that a large checkpoint is made as fast as the disk takes it.
Standard library alone."""

import pickle
import random
import struct
import zlib

BLOCK_BYTES = 1 << 20
# torch aligns every value of its archives so.
ALIGNMENT = 64
# Type -> (bytes of a value, torch's storage class, the byte of a value that
# has its sign, and what that byte is for numbers near 0.01).
TYPES = {
    "float16": (2, "HalfStorage", 1, range(0x20, 0x28)),
    "bfloat16": (2, "BFloat16Storage", 1, [0x3C]),
    "float32": (4, "FloatStorage", 3, [0x3C]),
}


def random_block(dtype, seed=7):
    """BLOCK_BYTES of small numbers of either sign."""
    size, _, sign_byte, near = TYPES[dtype]
    block = bytearray(random.Random(seed).randbytes(BLOCK_BYTES))
    choices = [byte | sign for byte in near for sign in (0, 0x80)]
    table = bytes(choices[i % len(choices)] for i in range(256))
    block[sign_byte::size] = block[sign_byte::size].translate(table)
    return bytes(block)


def _integer(value):
    if value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    data = value.to_bytes(8, "little")
    return pickle.LONG1 + bytes([len(data)]) + data


def _text(value):
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _tuple(*parts):
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def _name(module, name):
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _tensor(key, shape, storage_class):
    """The call that makes a tensor of the whole of the storage `key`."""
    strides, count = [], 1
    for extent in reversed(shape):
        strides.insert(0, count)
        count *= extent
    storage = _tuple(
        _text("storage"),
        _name("torch", storage_class),
        _text(key),
        _text("cpu"),
        _integer(count),
    )
    no_hooks = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _integer(0),
        _tuple(*map(_integer, shape)),
        _tuple(*map(_integer, strides)),
        pickle.NEWFALSE,
        no_hooks + pickle.REDUCE,
    )
    rebuild = _name("torch._utils", "_rebuild_tensor_v2")
    return rebuild + arguments + pickle.REDUCE


def pickled(shapes, dtype):
    """data.pkl: the dictionary of the tensors, each in a storage of its own."""
    items = [
        _text(name) + _tensor(str(key), shape, TYPES[dtype][1])
        for key, (name, shape) in enumerate(shapes.items())
    ]
    return (
        pickle.PROTO
        + b"\x02"
        + pickle.EMPTY_DICT
        + pickle.MARK
        + b"".join(items)
        + pickle.SETITEMS
        + pickle.STOP
    )


class Archive:
    """A zip file of stored entries, with 64-bit sizes and right checksums."""

    def __init__(self, path, block):
        self._file = open(path, "wb")
        self._folder = path.stem
        self._block = block
        self._central = []
        self._checksums = {}

    def add(self, name, data):
        self._begin(name, len(data), zlib.crc32(data))
        self._file.write(data)

    def add_blocks(self, name, size):
        """An entry of `size` bytes that are the block, again and again."""
        self._begin(name, size, self._checksum(size))
        whole, rest = divmod(size, len(self._block))
        for _ in range(whole):
            self._file.write(self._block)
        self._file.write(self._block[:rest])

    def _checksum(self, size):
        if size not in self._checksums:
            whole, rest = divmod(size, len(self._block))
            checksum = 0
            for _ in range(whole):
                checksum = zlib.crc32(self._block, checksum)
            self._checksums[size] = zlib.crc32(self._block[:rest], checksum)
        return self._checksums[size]

    def _begin(self, name, size, checksum):
        name = f"{self._folder}/{name}".encode()
        offset = self._file.tell()
        sizes = struct.pack("<HHQQ", 1, 16, size, size)
        start = offset + 30 + len(name) + len(sizes) + 4
        padding = -start % ALIGNMENT
        extra = sizes + b"FB" + struct.pack("<H", padding) + b"Z" * padding
        fields = (45, 0, 0, 0, 0, checksum, 0xFFFFFFFF, 0xFFFFFFFF, len(name))
        self._file.write(
            b"PK\x03\x04"
            + struct.pack("<HHHHHIIIHH", *fields, len(extra))
            + name
            + extra
        )
        extra = struct.pack("<HHQQQ", 1, 24, size, size, offset)
        self._central.append(
            b"PK\x01\x02"
            + struct.pack("<HHHHHHIIIHH", 45, *fields, len(extra))
            + struct.pack("<HHHII", 0, 0, 0, 0, 0xFFFFFFFF)
            + name
            + extra
        )

    def close(self):
        start, count = self._file.tell(), len(self._central)
        central = b"".join(self._central)
        end = start + len(central)
        self._file.write(
            central
            + b"PK\x06\x06"
            + struct.pack("<QHHIIQQ", 44, 45, 45, 0, 0, count, count)
            + struct.pack("<QQ", len(central), start)
            + b"PK\x06\x07"
            + struct.pack("<IQI", 0, end, 1)
            + b"PK\x05\x06"
            + struct.pack("<HHHHIIH", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)
        )
        self._file.close()


def write_torch_zip(path, shapes, dtype):
    """Writes name -> shape as torch.save would write such tensors."""
    archive = Archive(path, random_block(dtype))
    archive.add("data.pkl", pickled(shapes, dtype))
    archive.add("byteorder", b"little")
    for key, shape in enumerate(shapes.values()):
        size = TYPES[dtype][0]
        for extent in shape:
            size *= extent
        archive.add_blocks(f"data/{key}", size)
    archive.add("version", b"3\n")
    archive.close()
