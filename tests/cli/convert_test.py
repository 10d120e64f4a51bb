"""What a conversion says and leaves on the disk."""

import json
import os
import signal
import subprocess
import time
import unittest

from command_line import PROGRAM, CommandLineTest, llamlx
from tiny_models import (
    config,
    read_safetensors,
    tensors_of,
    write_folder,
    write_gguf,
    write_large_folder,
    write_sharded_folder,
)


class ConvertTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.target = self.folder / "target"

    def assert_holds_the_source(self, target):
        header, data = read_safetensors(target / "model.safetensors")
        for name, (shape, expected) in tensors_of(config()).items():
            entry = header[name]
            begin, end = entry["data_offsets"]
            self.assertEqual(entry["shape"], shape)
            self.assertEqual(data[begin:end], expected, name)

    def test_every_kind_of_source_gives_the_same_weights(self):
        for source in [
            write_folder(self.folder / "single"),
            write_sharded_folder(self.folder / "sharded"),
        ]:
            self.assert_succeeds(llamlx("convert", source, self.target))
            self.assert_holds_the_source(self.target)

    def test_a_converted_folder_converts_to_itself(self):
        source = write_gguf(self.folder / "model.gguf")
        again = self.folder / "again"
        self.assert_succeeds(llamlx("convert", source, self.target, "-q"))
        self.assert_succeeds(llamlx("convert", self.target, again))
        for name in ["config.json", "model.safetensors"]:
            self.assertEqual(
                (self.target / name).read_bytes(), (again / name).read_bytes()
            )

    def test_the_seeds_spellings_and_default(self):
        source = write_folder(self.folder / "source")
        done = llamlx("convert", "--torch-path", source, cwd=self.folder)
        self.assert_succeeds(done)
        self.assertTrue((self.folder / "mlx_model" / "config.json").exists())
        for number, option in enumerate([["--mlx-path"], []]):
            target = self.folder / f"target{number}"
            done = llamlx("convert", "--hf-path", source, *option, target)
            self.assert_succeeds(done)
            self.assertTrue((target / "config.json").exists())

    def test_says_what_it_does_and_did(self):
        source = write_folder(self.folder / "source")
        done = llamlx("convert", source, self.target, "-q", "--q-bits", "8")
        self.assert_succeeds(done)
        self.assertRegex(
            done.stderr,
            r"(?s)\[INFO\] Loading .*\[INFO\] Quantizing .*\[INFO\] Saving ",
        )
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertIn(str(self.target), done.stdout)
        self.assertIn("bits per weight", done.stdout)
        written = json.loads((self.target / "config.json").read_text())
        self.assertEqual(
            written["quantization"], {"bits": 8, "group_size": 64, "mode": "affine"}
        )

    def test_json_report(self):
        source = write_folder(self.folder / "source")
        done = llamlx("convert", source, self.target, "--json")
        report = json.loads(self.assert_succeeds(done).stdout)
        self.assertEqual(report["destination"], str(self.target))
        self.assertEqual(report["weight_bytes"], 4 * report["parameters"])
        self.assertEqual(report["bits_per_weight"], 32)
        self.assertGreater(report["peak_memory_bytes"], 1_000_000)
        self.assertEqual(report["notices"], [])

    def test_tells_what_stays_dense(self):
        source = write_folder(self.folder / "source")
        arguments = ["-q", "--q-group-size", "128"]
        done = llamlx("convert", source, self.target, *arguments)
        self.assert_succeeds(done)
        self.assertRegex(done.stderr, r"\[NOTE\] .*groups of 128 do not divide")

    def test_memory_is_bounded_by_the_largest_tensor(self):
        source = write_large_folder(self.folder / "source", 38)
        size = (source / "model.safetensors").stat().st_size
        self.assertGreater(size, 400_000_000)
        for options in [[], ["-q"], ["--dtype", "float32"]]:
            done = llamlx(
                "convert",
                source,
                self.target,
                "--json",
                *options,
                # A build with AddressSanitizer would hold on to what is freed.
                env=dict(os.environ, ASAN_OPTIONS="quarantine_size_mb=1"),
            )
            report = json.loads(self.assert_succeeds(done).stdout)
            self.assertLess(report["peak_memory_bytes"], 200_000_000, options)

    def test_interrupts_leave_nothing(self):
        source = write_large_folder(self.folder / "source", 8)
        place = self.folder / "place"
        place.mkdir()
        for number in [signal.SIGINT, signal.SIGTERM]:
            code = self.interrupt(source, place, number)
            self.assertEqual(code, 128 + number)
            self.assert_holds_only(place)

    def interrupt(self, source, place, number):
        """Sends the signal as soon as writing begins."""
        with subprocess.Popen(
            [PROGRAM, "convert", source, place / "out", "-q", "--dtype", "float32"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as program:
            while program.poll() is None and not os.listdir(place):
                time.sleep(0.001)
            program.send_signal(number)
            return program.wait(timeout=60)

    def test_left_overs_of_a_killed_run_are_cleared(self):
        source = write_large_folder(self.folder / "source", 8)
        place = self.folder / "place"
        place.mkdir()
        self.interrupt(source, place, signal.SIGKILL)
        self.assertTrue(os.listdir(place)[0].startswith("."))
        self.assert_succeeds(llamlx("convert", source, place / "out"))
        self.assert_holds_only(place, "out")


if __name__ == "__main__":
    unittest.main()
