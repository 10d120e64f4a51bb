"""Options, help, version, exit statuses, where the output goes."""

import os
import re
import shlex
import subprocess
import unittest
from pathlib import Path

from command_line import PROGRAM, CommandLineTest, llamlx
from tiny_models import write_folder

COMMANDS = ["convert", "generate", "compare", "bench", "perplexity", "info", "doctor"]
README = Path(__file__).parents[2] / "README.md"


def commands_in(text):
    """Returns the lines that call the program, without what explains them."""
    lines = re.findall(r"(?m)^ *(?:\$ )?llamlx ([a-z].*)$", text.replace("\\\n", " "))
    return [re.split(r" {3,}| [<>] ", line)[0] for line in lines]


class UsageTest(CommandLineTest):
    def test_help_names_every_command_and_teaches_by_example(self):
        done = self.assert_succeeds(llamlx("--help"))
        for command in COMMANDS:
            self.assertRegex(done.stdout, rf"(?m)^  {command} ")
        self.assertIn("Examples:", done.stdout)
        self.assertEqual(done.stderr, "")

    def test_every_command_has_help_with_examples(self):
        for command in COMMANDS:
            for flag in ["--help", "-h"]:
                done = self.assert_succeeds(llamlx(command, flag))
                self.assertIn(f"llamlx {command}", done.stdout)
                self.assertIn("Examples:", done.stdout)

    def test_help_fits_a_screen_of_80_columns_in_its_examples(self):
        for arguments in [[]] + [[command] for command in COMMANDS]:
            text = llamlx(*arguments, "--help").stdout
            for line in text[text.index("Examples:") :].splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_examples_are_commands_that_are_known(self):
        texts = [README.read_text(encoding="utf-8")]
        for arguments in [[]] + [[command] for command in COMMANDS]:
            texts.append(llamlx(*arguments, "--help").stdout)
        for text in texts:
            commands = commands_in(text)
            self.assertTrue(commands)
            for command in commands:
                if command == "bench --limits":  # bench_test.py's
                    continue
                # No model is here, which is no wrong usage.
                done = subprocess.run(
                    ["bash", "-c", f"{shlex.quote(str(PROGRAM))} {command}"],
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                )
                self.assertIn(done.returncode, [0, 1], f"{command}: {done.stderr}")
        self.assert_holds_only(self.folder)

    def test_version_everywhere(self):
        for arguments in [[]] + [[command] for command in COMMANDS]:
            done = self.assert_succeeds(llamlx(*arguments, "--version"))
            self.assertRegex(done.stdout, r"^llamlx \d+\.\d+\.\d+ \(MLX \S+\)\n$")

    def test_no_command_shows_the_help_as_wrong_usage(self):
        done = llamlx()
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stdout, "")
        self.assertIn("Examples:", done.stderr)

    def test_unknown_commands_and_flags(self):
        self.assert_wrong_usage(llamlx("konvert"), "konvert", "llamlx --help")
        self.assert_wrong_usage(llamlx("--frobnicate"), "--frobnicate")
        for command in COMMANDS:
            self.assert_wrong_usage(
                llamlx(command, "--frobnicate"),
                "--frobnicate",
                f"llamlx {command} --help",
            )

    def test_convert_refuses_options_out_of_range(self):
        for arguments in [
            ["-q", "--q-bits", "7"],
            ["-q", "--q-bits", "four"],
            ["-q", "--q-group-size", "48"],
            ["-q", "--q-mode", "mxfp6"],
            ["--dtype", "float64"],
            ["--q-bits", "4"],
            ["--q-group-size", "32"],
            ["--q-mode", "mxfp4"],
        ]:
            done = llamlx("convert", "a", self.folder / "b", *arguments)
            self.assert_wrong_usage(done, arguments[-2])
        for arguments, told in [
            (["--q-mode", "mxfp4", "--q-bits", "8"], "mxfp4 takes 4 bits"),
            (["--q-mode", "nvfp4", "--q-group-size", "32"], "groups of 16"),
            (["--q-group-size", "16"], "affine takes"),
            (["--q-mode", "mxfp8", "--compat", "seed"], "--q-mode"),
        ]:
            done = llamlx("convert", "a", self.folder / "b", "-q", *arguments)
            self.assert_wrong_usage(done, told)
        self.assert_holds_only(self.folder)

    def test_convert_wants_one_source_and_one_destination(self):
        self.assert_wrong_usage(llamlx("convert"), "SOURCE")
        twice = ["convert", "a", "b", "--torch-path", "c"]
        self.assert_wrong_usage(llamlx(*twice), "SOURCE", "twice")
        for others in (["b"], ["--torch-path", "b"]):
            twice = ["convert", "a", *others, "--mlx-path", "c"]
            self.assert_wrong_usage(llamlx(*twice), "DEST", "twice")

    def test_generate_refuses_options_out_of_range(self):
        for arguments in [
            ["--write-every", "0"],
            ["--max-tokens", "-1"],
            ["--temp", "-1"],
            ["--dtype", "float8"],
            ["--kv-bits", "4"],
            ["--seed", "x"],
        ]:
            self.assert_wrong_usage(llamlx("generate", *arguments), arguments[0])

    def test_what_an_unset_variable_leaves_is_refused(self):
        for arguments in [
            ["generate", "--prompt-ids", ""],
            ["perplexity", "--ids", ""],
            ["convert", self.folder, ""],
            ["convert", "--torch-path", ""],
        ]:
            self.assert_wrong_usage(llamlx(*arguments), "expected a text")

    def test_numbers_that_do_not_fit_are_refused(self):
        for seed in ["-1", str(2**64), "1.5", "x"]:
            self.assert_wrong_usage(
                llamlx("generate", f"--seed={seed}"), "--seed"
            )
        self.assert_wrong_usage(llamlx("generate", "--temp", "inf"), "--temp")

    def test_paths_that_do_not_exist(self):
        nowhere = self.folder / "nowhere"
        self.assert_fails_in_one_line(llamlx("info", nowhere), nowhere)
        self.assert_fails_in_one_line(
            llamlx("convert", nowhere, self.folder / "out"), nowhere
        )
        self.assert_holds_only(self.folder)

    def test_a_hostile_path_does_not_steer_the_terminal(self):
        done = llamlx("info", self.folder / "a\x1b[31m\nb")
        self.assert_fails_in_one_line(done)
        self.assertNotIn("\x1b", done.stderr)


class OutputTest(CommandLineTest):
    def test_a_closed_pipe_ends_it_quietly(self):
        model = write_folder(self.folder / "model")
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [PROGRAM, "info", str(model)],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        os.close(writer)
        self.assertEqual(done.stderr, b"")
        self.assertEqual(done.returncode, 141)

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_full_disk_under_the_output_is_told(self):
        for arguments in [["--help"], ["doctor"]]:
            with open("/dev/full", "wb") as full:
                done = subprocess.run(
                    [PROGRAM, *arguments],
                    stdout=full,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=60,
                    check=False,
                )
            self.assert_fails_in_one_line(done, "standard output")

    def test_no_colours_outside_a_terminal(self):
        self.assertNotRegex(llamlx("doctor").stdout, re.escape("\x1b"))


if __name__ == "__main__":
    unittest.main()
