"""Converts Meta's checkpoints, and into both layouts."""

import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import time
import unittest
import zipfile
from pathlib import Path

from command_line import PROGRAM, CommandLineTest, llamlx
from tiny_models import (
    config,
    tensors_of,
    write_folder,
    write_large_folder,
    write_safetensors,
)

DATA = Path(__file__).resolve().parent.parent / "data"
TOKENIZER = DATA / "sentencepiece" / "tokenizer.model"
KILLS = 20


def generated(model):
    """The greedy tokens after three ids."""
    done = llamlx(
        "generate", "--model-path", model, "--prompt-ids", "5,7,9", "-m", "6",
        "--ignore-eos", "--json",
    )
    return json.loads(done.stdout)["tokens"] if done.returncode == 0 else None


class LayoutTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.target = self.folder / "target"

    def meta_folder(self, name="groups_divide_2_shards", tokenizer=True):
        """A folder of Meta's, in a folder of its own."""
        folder = self.folder / "download" / name
        shutil.copytree(DATA / "meta" / name, folder)
        (folder / "tokenizer.model").unlink(missing_ok=True)
        if tokenizer:
            shutil.copy(TOKENIZER, folder)
        return folder

    def test_the_articles_two_commands(self):
        source = self.meta_folder()
        wanted = generated(source)
        done = llamlx("convert", "--torch-path", source, cwd=self.folder)
        self.assert_succeeds(done)
        self.assertEqual(generated(self.folder / "mlx_model"), wanted)

    def test_both_layouts_give_the_same_tokens(self):
        source = self.meta_folder()
        wanted = generated(source)
        for layout in [[], ["--format", "npz"], ["--format", "safetensors"]]:
            self.assert_succeeds(
                llamlx("convert", source, self.target, *layout)
            )
            self.assertEqual(generated(self.target), wanted, layout)

    def test_a_missing_tokenizer_is_told_before_a_byte_is_written(self):
        source = self.meta_folder(tokenizer=False)
        done = llamlx("convert", source, self.target, "-q")
        self.assert_fails_in_one_line(
            done, source, "tokenizer.model", "download.sh", "into this folder"
        )
        self.assertFalse(self.target.exists())
        self.assert_succeeds(
            llamlx("convert", source, self.target, "--no-tokenizer")
        )

    def test_a_tokenizer_one_folder_up_is_found(self):
        source = self.meta_folder(tokenizer=False)
        shutil.copy(TOKENIZER, source.parent)
        for folder in [source, f"{source}/"]:
            self.assert_succeeds(llamlx("convert", folder, self.target))
            written = (self.target / "tokenizer.model").read_bytes()
            self.assertEqual(written, TOKENIZER.read_bytes())
        done = llamlx("generate", "--model-path", source, "-m", "2", "--json")
        self.assertIn("text", json.loads(self.assert_succeeds(done).stdout))

    def test_mistrals_names_of_tokenizers_count(self):
        source = self.meta_folder(tokenizer=False)
        shutil.copy(TOKENIZER, source / "tokenizer.model.v3")
        (source.parent / "tokenizer.model").write_text("another model's")
        self.assert_succeeds(llamlx("convert", source, self.target))
        self.assertTrue((self.target / "tokenizer.model.v3").exists())
        self.assertFalse((self.target / "tokenizer.model").exists())

    def test_a_config_without_weights_of_its_own_hides_no_shards(self):
        source = self.meta_folder()
        wanted = generated(source)
        (source / "config.json").write_text("{}")
        self.assertIsNotNone(wanted)
        self.assertEqual(generated(source), wanted)

    def test_what_params_ask_for_and_is_not_run_is_refused(self):
        source = self.meta_folder()
        params = json.loads((source / "params.json").read_text())
        for key in ["yarn", "llama_4_scaling", "moe"]:
            changed = params | {key: {"factor": 16}}
            (source / "params.json").write_text(json.dumps(changed))
            self.assert_fails_in_one_line(
                llamlx("convert", source, self.target), "params.json", key
            )

    def test_npz_that_only_llamlx_reads_is_noted(self):
        plain = write_folder(self.folder / "plain")
        done = llamlx("convert", plain, self.target, "--format", "npz")
        self.assertNotIn("[NOTE]", self.assert_succeeds(done).stderr)
        scaled = write_folder(
            self.folder / "scaled",
            rope_scaling={"rope_type": "linear", "factor": 2.0},
        )
        done = llamlx("convert", scaled, self.target, "--format", "npz")
        self.assertIn("llama.py", self.assert_succeeds(done).stderr)

    def test_the_model_name_is_checked(self):
        meta = self.meta_folder()
        hugging_face = write_folder(self.folder / "hf")
        arguments = [self.target, "--model-name"]
        self.assert_succeeds(llamlx("convert", meta, *arguments, "llama"))
        self.assert_succeeds(
            llamlx("convert", hugging_face, *arguments, "tiny_llama")
        )
        self.assert_fails_in_one_line(
            llamlx("convert", meta, *arguments, "tiny_llama"), meta, "config.json"
        )
        self.assert_fails_in_one_line(
            llamlx("convert", hugging_face, *arguments, "llama"),
            hugging_face,
            "consolidated.*.pth",
        )
        self.assert_wrong_usage(
            llamlx("convert", meta, *arguments, "gpt"), "--model-name"
        )

    def test_the_seeds_screen(self):
        source = self.meta_folder()
        done = llamlx("convert", source, self.target, "--compat", "seed")
        self.assert_succeeds(done)
        self.assertEqual(done.stdout, "[INFO] Loading\n[INFO] Saving\n")
        self.assert_holds_only(
            self.target, "config.json", "tokenizer.model", "weights.npz"
        )
        done = llamlx(
            "convert", source, self.target, "--compat", "seed", "-q",
            "--q-group-size", "32",
        )
        self.assert_succeeds(done)
        self.assertEqual(
            done.stdout, "[INFO] Loading\n[INFO] Quantizing\n[INFO] Saving\n"
        )
        self.assert_wrong_usage(
            llamlx("convert", source, self.target, "--compat", "seed", "--json"),
            "--json",
        )
        self.assert_wrong_usage(
            llamlx(
                "convert", source, self.target, "--compat", "seed", "--format",
                "safetensors",
            ),
            "--format",
        )

    def test_swapping_models_never_mixes_them(self):
        source = self.meta_folder()
        for options in [
            ["-q", "--q-group-size", "32", "--format", "npz"],
            [],
            ["--format", "npz"],
            ["-q", "--q-group-size", "32"],
        ]:
            self.assert_succeeds(
                llamlx("convert", source, self.target, *options)
            )
            npz = "npz" in options
            weights = {n for n in os.listdir(self.target) if "safetensors" in n}
            self.assertEqual(not weights, npz)
            self.assertEqual((self.target / "weights.npz").exists(), npz)
            written = json.loads((self.target / "config.json").read_text())
            self.assertEqual("quantization" in written, "-q" in options)
            self.assertIsNotNone(generated(self.target))

    def test_groups_that_do_not_divide_are_refused_in_npz(self):
        source = write_folder(self.folder / "source")
        done = llamlx(
            "convert", source, self.target, "-q", "--q-group-size", "128",
            "--format", "npz",
        )
        self.assert_fails_in_one_line(done, source, "groups of 128", "64 columns")
        self.assertFalse(self.target.exists())

    def test_what_a_config_says_survives_npz(self):
        source = write_folder(
            self.folder / "source",
            rope_theta=50000.0,
            rope_scaling={"rope_type": "linear", "factor": 2.0},
        )
        wanted = generated(source)
        self.assert_succeeds(
            llamlx("convert", source, self.target, "--format", "npz")
        )
        self.assertEqual(generated(self.target), wanted)
        again = self.folder / "again"
        self.assert_succeeds(llamlx("convert", self.target, again))
        self.assertEqual(generated(again), wanted)
        written = json.loads((again / "config.json").read_text())
        self.assertEqual(written["rope_theta"], 50000.0)
        self.assertEqual(written["rope_scaling"]["factor"], 2.0)

    def test_progress_for_programs(self):
        source = write_large_folder(self.folder / "source", 2)
        done = llamlx("convert", source, self.target, "--progress", "json")
        self.assert_succeeds(done)
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        self.assertEqual(lines[0]["done_bytes"], 0)
        self.assertIsNone(lines[0]["seconds_left"])
        self.assertEqual(lines[-1]["done_bytes"], lines[-1]["total_bytes"])
        self.assertEqual(
            set(lines[0]),
            {
                "tensor", "done_bytes", "total_bytes", "bytes_per_second",
                "seconds_left",
            },
        )

    def test_weights_that_are_not_finite_are_named(self):
        for value in [math.nan, math.inf]:
            source = self.folder / f"source-{value}"
            write_folder(source)
            tensors = tensors_of(config())
            name = "model.layers.0.mlp.up_proj.weight"
            shape, data = tensors[name]
            damaged = data[:400] + struct.pack("<f", value) + data[404:]
            write_safetensors(
                source / "model.safetensors",
                tensors | {name: (shape, damaged)},
            )
            for options in [[], ["-q"], ["--dtype", "float16"]]:
                done = llamlx("convert", source, self.target, *options)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assert_error_line(done.stderr.splitlines()[-1], source, name)
                self.assertFalse(self.target.exists())

    def test_a_pickle_that_would_run_code_runs_none(self):
        trap = self.folder / "trapped"
        pickles = {
            "os.system": b"cos\nsystem\n(V" + f"touch {trap}".encode() + b"\ntR.",
            "builtins.exec": b"\x80\x02cbuiltins\nexec\n(Vopen('"
            + str(trap).encode()
            + b"','w')\ntR.",
        }
        for name, pickle in pickles.items():
            source = self.meta_folder("llama2_float32")
            with zipfile.ZipFile(source / "consolidated.00.pth", "w") as archive:
                archive.writestr("archive/data.pkl", pickle)
                archive.writestr("archive/version", "3\n")
            for command in [
                ["convert", source, self.target],
                ["generate", "--model-path", source, "--prompt-ids", "1"],
                ["info", source],
            ]:
                done = llamlx(*command)
                self.assert_fails_in_one_line(done, "consolidated.00.pth", name)
            self.assertFalse(trap.exists())
            self.assertFalse(self.target.exists())
            shutil.rmtree(source)

    def test_torch_files_cut_anywhere_are_refused(self):
        for case in ["llama2_float32", "older_stream"]:
            source = self.meta_folder(case)
            path = source / "consolidated.00.pth"
            whole = path.read_bytes()
            for size in random.Random(1).sample(range(len(whole)), 20):
                path.write_bytes(whole[:size])
                self.assert_fails_in_one_line(
                    llamlx("convert", source, self.target), path.name
                )
                self.assertFalse(self.target.exists())

    def test_links_as_the_hubs_cache_has_them(self):
        blobs = write_folder(self.folder / "blobs")
        snapshot = self.folder / "snapshots" / "main"
        snapshot.mkdir(parents=True)
        for name in os.listdir(blobs):
            (snapshot / name).symlink_to(f"../../blobs/{name}")
        self.assert_succeeds(llamlx("convert", snapshot, self.target))
        self.assertFalse((self.target / "config.json").is_symlink())
        (blobs / "model.safetensors").unlink()
        self.assert_fails_in_one_line(
            llamlx("convert", snapshot, self.target), "model.safetensors"
        )

    def test_killed_at_any_moment_a_model_stays_whole(self):
        small = write_folder(self.folder / "small")
        large = write_large_folder(self.folder / "large", 6)
        place = self.folder / "place"
        target = place / "model"
        self.assert_succeeds(llamlx("convert", small, target))
        old = generated(target)
        start = time.monotonic()
        self.assert_succeeds(llamlx("convert", large, place / "other", "-q"))
        seconds = time.monotonic() - start
        shutil.rmtree(place / "other")
        new = None
        draw = random.Random(0)
        for _ in range(KILLS):
            with subprocess.Popen(
                [PROGRAM, "convert", large, target, "-q"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as program:
                time.sleep(draw.uniform(0, 1.2 * seconds))
                program.send_signal(signal.SIGKILL)
            tokens = generated(target)
            self.assertIsNotNone(tokens)
            if tokens != old:
                new = new or tokens
                self.assertEqual(tokens, new)
            for name in os.listdir(place):
                if name != "model":
                    self.assertTrue(name.startswith(".model.partial-"), name)
        self.assert_succeeds(llamlx("convert", small, target))
        self.assert_holds_only(place, "model")
        self.assertEqual(generated(target), old)


if __name__ == "__main__":
    unittest.main()
