"""llamlx compare: the table, the document, what it refuses."""

import json
import tempfile
import unittest
from pathlib import Path

from command_line import CommandLineTest, llamlx
from screen import Screen
from scripted_model import EOS, write_scripted_folder
from tiny_models import write_folder

ANSWERS = {b"e": [b"One", b" two", b" three", EOS], b"p": [b"on", b" and"]}
MEASURES = [
    "load_s",
    "prompt_tps",
    "generation_tps",
    "time_to_first_token_s",
    "peak_memory_bytes",
]


class CompareTest(CommandLineTest):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="llamlx-cli-")
        cls.addClassCleanup(scratch.cleanup)
        folder = Path(scratch.name)
        cls.a = write_scripted_folder(folder / "dense", ANSWERS)
        cls.b = folder / "packed"
        done = llamlx("convert", cls.a, cls.b, "-q", "--q-bits", "8")
        assert done.returncode == 0, done.stderr

    def compare(self, *arguments, **options):
        return llamlx("compare", self.a, self.b, *arguments, **options)

    def document(self, *arguments, **options):
        done = self.assert_succeeds(self.compare("--json", *arguments, **options))
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)

    def test_the_document_has_both_models_and_their_distance(self):
        document = self.document("--prompt", "e", "--runs", "2")
        for model, path in [("a", self.a), ("b", self.b)]:
            facts = document[model]
            self.assertEqual(facts["path"], str(path))
            self.assertEqual(facts["text"], "One two three")
            self.assertEqual(facts["finish_reason"], "stop")
            self.assertEqual(len(facts["runs"]), 2)
            for key in MEASURES:
                values = [run[key] for run in facts["runs"]]
                self.assertGreater(min(values), 0, key)
                self.assertAlmostEqual(facts[key], sum(values) / 2)
        self.assertEqual(document["prompt_ids"], [256, ord("e")])
        self.assertEqual(document["common_tokens"], 3)
        self.assertEqual(document["a"]["quantization"], "float32")
        self.assertIn("8-bit", document["b"]["quantization"])
        self.assertLess(document["ratios"]["bits_per_weight"], 0.5)
        self.assertEqual(document["runs"], 2)
        comparison = document["comparison"]
        # The prompt and the answer are five tokens; the first is not predicted.
        self.assertEqual(comparison["tokens"], 4)
        self.assertGreater(comparison["mean_kl"], 0)
        self.assertGreaterEqual(comparison["max_kl"], comparison["mean_kl"])
        self.assertEqual(comparison["top1_agreement"], 1)

    def test_scores_are_those_of_perplexity(self):
        text = self.folder / "text.txt"
        text.write_text("see the apple " * 30)
        document = self.document("--text-file", text, "--runs", "1", "-m", "1")
        self.assertEqual(document["comparison"]["text"], str(text))
        for model, path in [("a", self.a), ("b", self.b)]:
            arguments = ["--model-path", path, "--text-file", text, "--json"]
            score = json.loads(llamlx("perplexity", *arguments).stdout)
            self.assertAlmostEqual(
                document[model]["mean_nll"], score["mean_nll"], delta=1e-5
            )
            self.assertEqual(document["comparison"]["tokens"], score["tokens"])

    def test_a_model_beside_itself(self):
        done = llamlx("compare", self.a, self.a, "-p", "e", "--runs", "1", "--json")
        document = json.loads(self.assert_succeeds(done).stdout)
        self.assertEqual(document["comparison"]["max_kl"], 0)
        self.assertEqual(document["ratios"]["disk_bytes"], 1)

    def test_a_table_and_the_texts_for_people(self):
        done = self.assert_succeeds(self.compare("--prompt", "e", "--runs", "1"))
        labels = [line[:18].strip() for line in done.stdout.splitlines()]
        for label in ["weights, mainly", "bits per weight", "peak memory"]:
            self.assertIn(label, labels)
        self.assertRegex(done.stdout, r"(?m)^on disk .*\d\.\d\dx$")
        self.assertIn("One two three\n", done.stdout)
        self.assertIn("B says the same.", done.stdout)
        self.assertRegex(done.stdout, r"KL\(A \|\| B\), mean +\d\.\d+ nats")
        self.assertRegex(done.stderr, r"(?m)^\[INFO\] Run 1 of 1: A, ")

    def test_prompts_of_any_size_and_source(self):
        text = "x" * 100 + "\n'\"$e"
        document = self.document(
            "--prompt", "-", "--runs", "1", stdin=None, input=text
        )
        self.assertEqual(document["prompt_ids"], [256, *text.encode()])
        document = self.document("--prompt-ids", "7,101", "--runs", "1")
        self.assertEqual(document["prompt_ids"], [7, 101])

    def test_models_without_a_tokenizer(self):
        plain = write_folder(self.folder / "plain")
        done = llamlx(
            "compare", plain, plain, "--prompt-ids", "1,2", "-m", "3", "--runs", "1"
        )
        self.assertIn("(no text)", self.assert_succeeds(done).stdout)

    def test_refuses_models_of_other_vocabularies(self):
        other = write_scripted_folder(self.folder / "other", {b"e": [b"Eins"]})
        done = llamlx("compare", self.a, other, "--prompt", "e")
        self.assert_fails_in_one_line(done, "tokenizers")
        names = {**ANSWERS, b"e": [b"Uno", b" dos", b" tres", EOS]}
        other = write_scripted_folder(self.folder / "renamed", names)
        done = llamlx("compare", self.a, other, "--prompt", "e")
        self.assert_fails_in_one_line(done, "different tokens", "258")

    def test_what_a_run_says_is_told_in_a_line(self):
        nowhere = self.folder / "nowhere"
        done = llamlx("compare", self.a, nowhere)
        self.assert_fails_in_one_line(done, nowhere)
        done = llamlx("compare", self.a, self.b, "--prompt-ids", "9999", "--json")
        self.assert_wrong_usage(done, "9999")
        done = llamlx("compare", self.a, self.b, "--prompt-ids", "1" + ",1" * 999, "--json")
        self.assert_fails_in_one_line(done, "context")

    def test_wrong_usage(self):
        self.assert_wrong_usage(llamlx("compare"), "A")
        self.assert_wrong_usage(llamlx("compare", "a"), "B")
        self.assert_wrong_usage(self.compare("--runs", "0"), "--runs")
        self.assert_wrong_usage(
            self.compare("--prompt", "-", "--text-file", "-"), "standard input"
        )

    def test_ctrl_c_ends_it_and_its_runs(self):
        screen = Screen(
            "compare", self.a, self.b, "--prompt", "p", "-m", "1000000", "--runs", "1"
        )
        screen.wait_for("Run 1 of 1: A")
        screen.type("\x03")
        self.assertEqual(screen.end(), 130)


if __name__ == "__main__":
    unittest.main()
