"""Runs the llamlx program named by the environment variable LLAMLX."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

PROGRAM = os.environ.get("LLAMLX", "llamlx")


def llamlx(*arguments, **options):
    """Runs the program; returns what subprocess.run does, with texts."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm")
    options.setdefault("env", environment)
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
        **options,
    )


class CommandLineTest(unittest.TestCase):
    """A test with a folder of its own, self.folder."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="llamlx-cli-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def assert_succeeds(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def assert_fails_in_one_line(self, done, *words):
        """Exit status 1 and one line that names the file, cause and remedy."""
        self.assertEqual(done.returncode, 1, done.stderr)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assert_error_line(lines[0], *words)

    def assert_error_line(self, line, *words):
        self.assertRegex(line, r"^llamlx: .+: .+; .+$")
        for word in words:
            self.assertIn(str(word), line)

    def assert_wrong_usage(self, done, *words):
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def assert_holds_only(self, folder, *names):
        self.assertEqual(sorted(os.listdir(folder)), sorted(names))
