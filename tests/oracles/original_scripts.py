"""Drives the scripts of mlx-examples' llms/llama, read from a checkout of it.
Needs an environment with mlx, torch, transformers and sentencepiece."""

import json
import os
import subprocess
import sys
from pathlib import Path

RUNNER = Path(__file__).resolve().parent / "run_original.py"
# The text that was published as an article, and the last one.
COMMITS = {
    "seed": "5aa652d3",
    "head": "7ddca42f",
}
SCRIPTS = ("convert.py", "llama.py")


class Originals:
    """The scripts of one commit, laid into `folder`."""

    def __init__(self, checkout, which, folder, repaired=True):
        self._folder = Path(folder) / which
        self._mode = "repaired" if repaired else "plain"
        self._folder.mkdir(exist_ok=True)
        for script in SCRIPTS:
            text = subprocess.run(
                ["git", "show", f"{COMMITS[which]}:llms/llama/{script}"],
                cwd=checkout,
                check=True,
                capture_output=True,
            ).stdout
            (self._folder / script).write_bytes(text)

    def run(self, script, *arguments, text="", cwd=None):
        """Returns (exit status, standard output, last line of the errors)."""
        done = subprocess.run(
            [sys.executable, "-B", RUNNER, self._folder, self._mode, script]
            + [str(argument) for argument in arguments],
            input=text.encode(),
            cwd=cwd,
            env=os.environ | {"PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            check=False,
        )
        errors = done.stderr.decode(errors="replace").strip().split("\n")
        return done.returncode, done.stdout.decode(), errors[-1]

    def convert(self, source, folder, *options):
        """Returns what convert.py prints."""
        paths = ["--torch-path", source, "--mlx-path", folder]
        return self._succeed("convert.py", *paths, *options)

    def ask(self, model, prompts, steps, texts, float32=False):
        """Tokens and float32 margins of `steps` greedy steps for each list of
        ids in `prompts`, and float32 logits for each in `texts`. The tokens
        come in the type of the weights, or in float32, too."""
        questions = {
            "prompts": prompts,
            "steps": steps,
            "texts": texts,
            "float32": float32,
        }
        said = self._succeed("ask", model, text=json.dumps(questions))
        return json.loads(said.strip().rsplit("\n", 1)[-1])

    def _succeed(self, script, *arguments, **how):
        status, said, error = self.run(script, *arguments, **how)
        if status != 0:
            raise RuntimeError(f"{script} {arguments}: {error}")
        return said
