"""llamlx bench: every form of its report, its picture, what it refuses."""

import csv
import io
import json
import os
import re
import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

from command_line import CommandLineTest, llamlx
from tiny_models import HIDDEN, INTERMEDIATE, VOCAB, write_folder

QUICK = {"-p": "5", "-n": "3", "-t": "1", "-r": "2", "--device": "cpu"}
SVG = "{http://www.w3.org/2000/svg}"


class BenchTest(CommandLineTest):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="llamlx-cli-")
        cls.addClassCleanup(scratch.cleanup)
        cls.model = write_folder(Path(scratch.name) / "tiny")

    def bench(self, *arguments, **options):
        quick = [
            word
            for option in QUICK.items()
            if option[0] not in arguments
            for word in option
        ]
        return llamlx("bench", self.model, *quick, *arguments, **options)

    def document(self, *arguments):
        done = self.assert_succeeds(self.bench("--json", *arguments))
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)

    def test_the_document_has_model_machine_and_results(self):
        document = self.document("-d", "0,4", "-b", "1,2")
        self.assertEqual(document["model"]["path"], str(self.model))
        self.assertEqual(document["model"]["model_type"], "llama")
        names = [result["test"] for result in document["results"]]
        at_depth = ["pp5@d4", "tg3@d4", "tg3@d4@b2"]
        self.assertEqual(names, ["pp5", "tg3", "tg3@b2", *at_depth])
        for result in document["results"]:
            speed = result["tokens_per_second"]
            self.assertLessEqual(speed["min"], speed["median"])
            self.assertLessEqual(speed["median"], speed["max"])
            self.assertEqual(result["repetitions"], 2)
            self.assertEqual(result["temperature"], 0)
            self.assertEqual(result["threads"], 1)
            self.assertAlmostEqual(
                result["gb_per_s"],
                result["bytes_per_token"] * speed["median"] / 1e9,
                places=6,
            )
            limit = result["limit"]
            self.assertAlmostEqual(
                result["fraction_of_bandwidth"], result["gb_per_s"] / limit["gb_per_s"]
            )
            self.assertAlmostEqual(
                result["fraction_of_peak"], result["gflops"] / limit["gflops"]
            )
            self.assertGreater(result["peak_memory_bytes"], 1e6)

    def test_flops_are_those_of_the_config(self):
        answer = self.document()["results"][1]
        linear = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * HIDDEN // 2
        linear += 3 * HIDDEN * INTERMEDIATE + VOCAB * HIDDEN
        # Positions 0, 1 and 2 see one, two and three: two on average.
        attention = 4 * HIDDEN * 2
        self.assertAlmostEqual(answer["flops_per_token"], 2 * linear + attention)

    def test_the_machine_says_what_it_was_measured_to_do(self):
        machine = self.document()["machine"]
        self.assertGreaterEqual(machine["cores"], 1)
        for found in machine["limits"]["read_bandwidth"]:
            self.assertGreaterEqual(found["gb_per_s"], found["median_gb_per_s"])
        types = {peak["type"] for peak in machine["limits"]["peaks"]}
        self.assertIn("float32", types)
        scalar = self.bench(
            "--json", env=dict(os.environ, LLAMLX_FORCE_ISA="scalar")
        )
        machine = json.loads(self.assert_succeeds(scalar).stdout)["machine"]
        self.assertEqual(machine["isa"], "scalar")
        self.assertEqual({p["isa"] for p in machine["limits"]["peaks"]}, {"scalar"})

    def test_limits_need_no_model(self):
        done = self.assert_succeeds(llamlx("bench", "--limits", "-t", "1", "--json"))
        document = json.loads(done.stdout)
        self.assertEqual(set(document), {"machine"})
        found = document["machine"]["limits"]["read_bandwidth"]
        self.assertGreaterEqual(len({entry["bytes"] for entry in found}), 4)

    def test_csv_is_a_line_a_test(self):
        done = self.assert_succeeds(self.bench("--csv"))
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        self.assertEqual([row["test"] for row in rows], ["pp5", "tg3"])
        for row in rows:
            self.assertNotIn(None, row)
            self.assertGreater(float(row["tokens_per_second"]), 0)
            self.assertEqual(row["threads"], "1")

    def test_markdown_is_a_table(self):
        done = self.assert_succeeds(self.bench("--markdown"))
        lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
        self.assertEqual(len(lines), 4)
        self.assertEqual(len({line.count("|") for line in lines}), 1)
        self.assertTrue(lines[3].startswith("| tg3 | 1 |"))

    def test_a_table_for_people(self):
        done = self.assert_succeeds(self.bench())
        self.assertIn("tiny: llama, ", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^test +threads +tok/s +min +max ")
        self.assertRegex(done.stdout, r"(?m)^tg3 +1 +\d")

    def test_zero_leaves_a_kind_out(self):
        names = [r["test"] for r in self.document("-p", "0")["results"]]
        self.assertEqual(names, ["tg3"])

    def test_the_picture_is_well_formed_and_shows_every_test(self):
        picture = self.folder / "a picture.svg"
        self.assert_succeeds(self.bench("-b", "1,2", "--plot", picture))
        root = ElementTree.parse(picture).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        texts = ["".join(text.itertext()) for text in root.iter(SVG + "text")]
        for text in ["tiny", "pp5", "tg3", "tg3@b2", "CPU of llamlx", "GFLOP/s"]:
            self.assertIn(text, texts)
        width, height = float(root.get("width")), float(root.get("height"))
        for text in root.iter(SVG + "text"):
            self.assertTrue(0 <= float(text.get("x")) <= width, text.text)
            self.assertTrue(0 <= float(text.get("y")) <= height, text.text)
        self.assertIsNone(re.search(r"\b(nan|inf)\b", picture.read_text()))
        self.assert_holds_only(self.folder, "a picture.svg")

    def test_a_picture_without_a_place_fails_before_measuring(self):
        nowhere = self.folder / "none" / "bench.svg"
        # Minutes, were it measured.
        done = self.bench("-n", "100000", "--plot", nowhere)
        self.assert_fails_in_one_line(done, nowhere)
        done = self.bench("-n", "100000", "--plot", self.folder)
        self.assert_fails_in_one_line(done, self.folder)

    def test_beyond_the_context_is_measured_with_a_note(self):
        done = self.assert_succeeds(self.bench("-d", "200"))
        self.assertRegex(done.stderr, r"(?m)^\[NOTE\] .*context is 128")

    def test_failures_are_one_line(self):
        nowhere = self.folder / "nowhere"
        self.assert_fails_in_one_line(llamlx("bench", nowhere), nowhere)
        done = self.bench("-d", "8000000", "-b", "4096", "-p", "0")
        self.assert_fails_in_one_line(done, "keys and values")

    def test_wrong_usage(self):
        for arguments in [
            ["-p", "5,x"],
            ["-p", ""],
            ["-n", "-3"],
            ["-t", "1,99999"],
            ["-d", "1.5"],
            ["-b", "0"],
            ["-r", "0"],
            ["-p", "0", "-n", "0"],
            ["--json", "--csv"],
            ["--plot", ""],
        ]:
            with self.subTest(arguments=arguments):
                self.assert_wrong_usage(llamlx("bench", self.model, *arguments))
        done = llamlx("bench", "--limits", "--csv")
        self.assert_wrong_usage(done, "--limits")


if __name__ == "__main__":
    unittest.main()
