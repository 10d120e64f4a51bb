"""Damaged, incomplete and foreign input: one line, nothing half-written."""

import json
import os
import random
import resource
import shutil
import struct
import subprocess
import unittest

from command_line import CommandLineTest, llamlx
from tiny_models import (
    config,
    tensors_of,
    write_folder,
    write_gguf,
    write_safetensors,
    write_sharded_folder,
)

WEIGHTS = "model.safetensors"
NOBODY = 65534


class BadInputTest(CommandLineTest):
    def assert_refused(self, source, *words):
        """By all commands that open models, with nothing left behind."""
        place = self.folder / "place"
        place.mkdir(exist_ok=True)
        convert = llamlx("convert", source, place / "out")
        self.assert_fails_in_one_line(convert, *words)
        self.assert_holds_only(place)
        self.assert_fails_in_one_line(llamlx("info", source), *words)
        generate = llamlx(
            "generate", "--model-path", source, "--prompt-ids", "1", "-m", "1", "--json"
        )
        self.assert_fails_in_one_line(generate, *words)


class SafetensorsTest(BadInputTest):
    def setUp(self):
        super().setUp()
        self.source = write_folder(self.folder / "source")
        self.weights = self.source / WEIGHTS
        self.bytes = self.weights.read_bytes()
        (size,) = struct.unpack_from("<Q", self.bytes)
        self.header = json.loads(self.bytes[8 : 8 + size])
        self.data = self.bytes[8 + size :]

    def write_header(self, header):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        self.weights.write_bytes(struct.pack("<Q", len(text)) + text + self.data)

    def test_truncated_anywhere(self):
        for size in [0, 4, 8, 100, len(self.bytes) // 2, len(self.bytes) - 1]:
            with self.subTest(size=size):
                self.weights.write_bytes(self.bytes[:size])
                self.assert_refused(self.source, WEIGHTS)

    def test_a_header_as_long_as_the_world(self):
        for size in [2**63, 2**64 - 1, len(self.bytes)]:
            self.weights.write_bytes(struct.pack("<Q", size) + self.bytes[8:])
            self.assert_refused(self.source, WEIGHTS)

    def test_headers_that_are_not_json_objects(self):
        for text in [b"[]", b"{", b'{"a":', b"\xff" * 30, b"[" * 100000]:
            self.write_header(text)
            self.assert_refused(self.source, WEIGHTS)

    def test_offsets_that_lie(self):
        name = "model.norm.weight"
        for offsets in [[0, 2**62], [10, 5], [-8, 248], ["a", "b"], [0], None]:
            with self.subTest(offsets=offsets):
                header = dict(self.header)
                header[name] = dict(header[name], data_offsets=offsets)
                self.write_header(header)
                self.assert_refused(self.source, WEIGHTS)

    def test_shapes_that_lie(self):
        name = "model.norm.weight"
        for shape in [[2**31, 2**31], [-1], [63], ["x"], 64, None]:
            with self.subTest(shape=shape):
                header = dict(self.header)
                header[name] = dict(header[name], shape=shape)
                self.write_header(header)
                self.assert_refused(self.source, WEIGHTS)

    def test_types_nobody_knows(self):
        for dtype in ["Q9", 5, None]:
            header = dict(self.header)
            header["model.norm.weight"] = dict(
                header["model.norm.weight"], dtype=dtype
            )
            self.write_header(header)
            self.assert_refused(self.source, WEIGHTS)

    def test_random_damage_never_crashes(self):
        draw = random.Random(1)
        header_end = len(self.bytes) - len(self.data)
        for _ in range(40):
            damaged = bytearray(self.bytes)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(header_end)] = draw.randrange(256)
            self.weights.write_bytes(damaged)
            done = llamlx("info", self.source)
            self.assertIn(done.returncode, [0, 1], done.stderr)
            self.assertLessEqual(len(done.stderr.splitlines()), 1)


class FolderTest(BadInputTest):
    def setUp(self):
        super().setUp()
        self.source = write_folder(self.folder / "source")

    def write_tensors(self, tensors):
        write_safetensors(self.source / WEIGHTS, tensors)

    def write_config(self, **changes):
        (self.source / "config.json").write_text(json.dumps(config(**changes)))

    def test_configs_that_are_not_json_objects(self):
        whole = json.dumps(config())
        for text in ["", whole[: len(whole) // 2], "[1]", "null", "\0", "[" * 100000]:
            (self.source / "config.json").write_text(text)
            self.assert_refused(self.source, "config.json")

    def test_a_config_nested_without_end(self):
        text = json.dumps(config(deep=0))
        deep = "[" * 200000 + "]" * 200000
        (self.source / "config.json").write_text(text.replace("0}", deep + "}"))
        place = self.folder / "place"
        place.mkdir()
        done = llamlx("convert", self.source, place / "out")
        self.assertIn(done.returncode, [0, 1], done.stderr)

    def test_config_values_that_make_no_sense(self):
        for changes in [
            {"hidden_size": "64"},
            {"hidden_size": -64},
            {"hidden_size": 10**30},
            {"num_hidden_layers": 10**9},
            {"num_attention_heads": 0},
            {"num_attention_heads": 5},
            {"num_key_value_heads": 3},
            {"vocab_size": None},
            {"rms_norm_eps": "small"},
        ]:
            with self.subTest(**changes):
                self.write_config(**changes)
                self.assert_refused(self.source, self.source)

    def test_no_config(self):
        (self.source / "config.json").unlink()
        self.assert_refused(self.source, self.source)

    def test_an_empty_folder(self):
        empty = self.folder / "empty"
        empty.mkdir()
        self.assert_refused(empty, empty)

    def test_no_weights(self):
        (self.source / WEIGHTS).unlink()
        self.assert_refused(self.source, self.source)

    def test_unknown_architectures(self):
        self.write_config(model_type="mamba")
        self.assert_refused(self.source, "mamba")

    def test_a_missing_tensor(self):
        tensors = tensors_of(config())
        del tensors["model.layers.0.mlp.up_proj.weight"]
        self.write_tensors(tensors)
        self.assert_refused(
            self.source, self.source, "model.layers.0.mlp.up_proj.weight"
        )

    def test_a_tensor_of_the_wrong_shape(self):
        tensors = tensors_of(config())
        _, data = tensors["model.layers.0.mlp.up_proj.weight"]
        tensors["model.layers.0.mlp.up_proj.weight"] = ([64, 128], data)
        self.write_tensors(tensors)
        self.assert_refused(
            self.source, "model.layers.0.mlp.up_proj.weight", "[128, 64]", "[64, 128]"
        )

    def test_a_missing_shard(self):
        sharded = write_sharded_folder(self.folder / "sharded")
        (sharded / "model-00002-of-00002.safetensors").unlink()
        self.assert_refused(sharded, "model-00002-of-00002.safetensors")

    def test_a_damaged_index(self):
        sharded = write_sharded_folder(self.folder / "sharded")
        index = sharded / "model.safetensors.index.json"
        for text in ["{", '{"weight_map": 5}', '{"weight_map": {"a": "../../b"}}']:
            index.write_text(text)
            self.assert_refused(sharded, sharded)

    def test_a_tensor_that_the_index_promises_and_no_shard_has(self):
        sharded = write_sharded_folder(self.folder / "sharded")
        path = sharded / "model.safetensors.index.json"
        index = json.loads(path.read_text())
        index["weight_map"]["model.norm.weight"] = "model-00001-of-00002.safetensors"
        path.write_text(json.dumps(index))
        self.assert_refused(sharded, "model.norm.weight")


class GgufTest(BadInputTest):
    def setUp(self):
        super().setUp()
        self.source = write_gguf(self.folder / "model.gguf")
        self.bytes = self.source.read_bytes()

    def test_the_undamaged_file_is_fine(self):
        self.assert_succeeds(llamlx("info", self.source))

    def test_truncated_anywhere(self):
        for size in [0, 3, 10, 24, 60, 500, len(self.bytes) // 2]:
            with self.subTest(size=size):
                self.source.write_bytes(self.bytes[:size])
                self.assert_refused(self.source, "model.gguf")

    def test_another_magic_or_version(self):
        for offset, value in [(0, b"GGML"), (4, b"\x63\0\0\0"), (4, b"\0\0\0\0")]:
            damaged = bytearray(self.bytes)
            damaged[offset : offset + 4] = value
            self.source.write_bytes(damaged)
            self.assert_refused(self.source, "model.gguf")

    def test_counts_as_large_as_the_world(self):
        for offset in [8, 16, 24]:
            for value in [2**40, 2**63, 2**64 - 1]:
                damaged = bytearray(self.bytes)
                struct.pack_into("<Q", damaged, offset, value)
                self.source.write_bytes(damaged)
                self.assert_refused(self.source, "model.gguf")

    def test_unknown_architectures(self):
        write_gguf(self.source, architecture="mamba")
        self.assert_refused(self.source, "model.gguf", "mamba")

    def test_random_damage_never_crashes(self):
        draw = random.Random(2)
        for _ in range(40):
            damaged = bytearray(self.bytes)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(1400)] = draw.randrange(256)
            self.source.write_bytes(damaged)
            done = llamlx("info", self.source)
            self.assertIn(done.returncode, [0, 1], done.stderr)
            self.assertLessEqual(len(done.stderr.splitlines()), 1)


class DestinationTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.source = write_folder(self.folder / "source")
        self.place = self.folder / "place"
        self.place.mkdir()
        # Someone without privileges must be able to look in.
        self.folder.chmod(0o755)

    def test_files_that_may_not_grow(self):
        limit = 50_000
        done = llamlx(
            "convert",
            self.source,
            self.place / "out",
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit, limit)
            ),
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_error_line(done.stderr.splitlines()[-1], WEIGHTS)
        self.assert_holds_only(self.place)

    def test_a_disk_without_room(self):
        script = (
            'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@";'
        )
        command = ["unshare", "-rm", "sh", "-c", script, "sh", str(self.place)]
        probe = subprocess.run(
            [*command, "true"], capture_output=True, check=False
        )
        if probe.returncode != 0:
            self.skipTest("may not mount a small disk here")
        done = subprocess.run(
            [
                *command,
                "sh",
                "-c",
                '"$0" convert "$1" "$2/out"; code=$?; ls -A "$2"; exit $code',
                os.environ.get("LLAMLX", "llamlx"),
                str(self.source),
                str(self.place),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assert_fails_in_one_line(done, self.place / "out", "free")
        self.assertEqual(done.stdout, "")

    def test_a_read_only_target(self):
        self.place.chmod(0o555)
        options = {"user": NOBODY} if os.geteuid() == 0 else {}
        done = llamlx("convert", self.source, self.place / "out", **options)
        self.place.chmod(0o755)
        self.assert_fails_in_one_line(done, self.place / "out")
        self.assert_holds_only(self.place)

    def test_a_parent_that_is_a_file(self):
        (self.place / "file").write_text("keep me")
        done = llamlx("convert", self.source, self.place / "file" / "out")
        self.assert_fails_in_one_line(done, self.place / "file")
        done = llamlx("convert", self.source, self.place / "file")
        self.assert_fails_in_one_line(done, self.place / "file")
        self.assertEqual((self.place / "file").read_text(), "keep me")

    def test_a_folder_of_other_things_is_never_replaced(self):
        (self.place / "photos").mkdir()
        (self.place / "photos" / "one.jpg").write_text("keep me")
        done = llamlx("convert", self.source, self.place / "photos")
        self.assert_fails_in_one_line(done, self.place / "photos")
        self.assert_holds_only(self.place / "photos", "one.jpg")

    def test_the_source_is_never_replaced(self):
        before = (self.source / WEIGHTS).read_bytes()
        link = self.folder / "link"
        link.symlink_to(self.source)
        for destination in [self.source, f"{self.source}/", link]:
            done = llamlx("convert", self.source, destination, "-q")
            self.assert_fails_in_one_line(done, "source itself")
        self.assertEqual((self.source / WEIGHTS).read_bytes(), before)

    def test_a_failure_leaves_the_old_model(self):
        target = self.place / "out"
        self.assert_succeeds(llamlx("convert", self.source, target))
        before = (target / WEIGHTS).read_bytes()
        shutil.rmtree(self.source)
        write_folder(self.source)
        weights = self.source / WEIGHTS
        weights.write_bytes(weights.read_bytes()[:-1])
        self.assert_fails_in_one_line(llamlx("convert", self.source, target))
        self.assertEqual((target / WEIGHTS).read_bytes(), before)
        self.assert_holds_only(self.place, "out")


if __name__ == "__main__":
    unittest.main()
