"""How everyone is driven: command lines, and processes that are watched.

Everyone is a process that prints the JSON of `llamlx bench --json`: llamlx by
that command, a peer by its driver here. Standard library alone; Unix.
"""

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from races import LLAMA_CPP, LLAMA_CPP_NO_AMX, LLAMLX, MLX_LM, OPENVINO

HERE = Path(__file__).resolve().parent
DRIVERS = {
    LLAMA_CPP: "drive_llama_cpp.py",
    LLAMA_CPP_NO_AMX: "drive_llama_cpp.py",
    MLX_LM: "drive_mlx_lm.py",
    OPENVINO: "drive_openvino.py",
}
# SmolLM2's tokenizer makes 32 tokens of it.
PROMPT = (
    "The three most important things to know about the history of computing"
    " are, first, that the machines came before the theory; second, that the"
    " first programmers were often"
)
# The package of llama.cpp brings no program: this is the shortest one.
LLAMA_CPP_PROGRAM = (
    "import sys, llama_cpp\n"
    "model = llama_cpp.Llama(sys.argv[1], n_ctx=64, verbose=False,"
    " n_threads=int(sys.argv[3]), n_threads_batch=int(sys.argv[3]))\n"
    "answer = model(sys.argv[2], max_tokens=1, temperature=0)\n"
    "print(answer['choices'][0]['text'], flush=True)\n"
)


class RunError(Exception):
    """A contestant that did not end well. str() is one line."""


@dataclass(frozen=True)
class Test:
    """What one process measures: `llamlx bench`'s -p, -n, -d, -t and -r."""

    prompt: int = 0
    tokens: int = 0
    depth: int = 0
    threads: int = 2
    repetitions: int = 3

    @property
    def name(self):
        what = f"pp{self.prompt}" if self.prompt else f"tg{self.tokens}"
        return what + (f"@d{self.depth}" if self.depth else "")

    def arguments(self):
        pairs = {
            "-p": self.prompt,
            "-n": self.tokens,
            "-d": self.depth,
            "-t": self.threads,
            "-r": self.repetitions,
        }
        return [str(x) for pair in pairs.items() for x in pair]


def run(command, variables=None, limit_s=900):
    """Runs a process. Returns (its standard output, its peak memory in bytes).

    Errors: RunError with the last line it said, or the signal that ended it.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        said = []
        reader = threading.Thread(
            target=lambda: said.extend(child.stderr), daemon=True
        )
        reader.start()
        timer = threading.Timer(limit_s, child.kill)
        timer.start()
        try:
            output = child.stdout.read().decode(errors="replace")
            _, status, usage = os.wait4(child.pid, 0)
        finally:
            timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        reader.join()
    if child.returncode != 0:
        raise RunError(why(child.returncode, said, limit_s))
    return output, usage.ru_maxrss * 1024


def why(returncode, said, limit_s):
    """Returns the reason of a failure, a line."""
    if returncode == -9:
        return f"killed: out of memory, or {limit_s} s were over"
    if returncode < 0:
        return f"crashed with signal {-returncode}"
    lines = [x.decode(errors="replace").strip() for x in said if x.strip()]
    return lines[-1][:200] if lines else f"ended with status {returncode}"


def parse(output):
    """Returns the JSON document that is the output, or its last line."""
    try:
        return json.loads(output)
    except ValueError:
        pass
    try:
        return json.loads(output.strip().split("\n")[-1])
    except ValueError:
        raise RunError("printed no JSON") from None


def result_of(report, test):
    """Returns the median tokens a second that a report has of a test."""
    for result in report["results"]:
        if result["test"] == test.name:
            return result["tokens_per_second"]["median"]
    raise RunError(f"reported no {test.name}")


class Contestants:
    """Runs whoever is asked to, on the files of one folder."""

    def __init__(self, llamlx, environment, models):
        self.llamlx = llamlx
        self._environment = environment
        self._models = models.resolve()

    def path(self, file):
        """Returns the path of a model's file or folder."""
        return self._models / file

    def report(self, peer, file, test, isa=None):
        """Measures. Returns (the process's report, its peak memory)."""
        path = self.path(file)
        if peer == LLAMLX:
            command = [self.llamlx, "bench", path, *test.arguments()]
            output, peak = run([*command, "--json"], llamlx_variables(isa))
        else:
            command = [self._python(peer), HERE / DRIVERS[peer], path]
            output, peak = run(
                [*command, *test.arguments()],
                self._environment.variables(peer),
            )
        return parse(output), peak

    def speed(self, peer, file, test, isa=None):
        """Returns tokens a second."""
        return result_of(self.report(peer, file, test, isa)[0], test)

    def seconds_of_llama_cpp(self, file, test, variables):
        """Returns the seconds that a build takes for a test's two halves."""
        command = [self._environment.python, HERE / DRIVERS[LLAMA_CPP]]
        command += [self.path(file), *test.arguments()]
        results = parse(run(command, variables)[0])["results"]
        sizes = (test.prompt, test.tokens)
        return sum(
            size / result["tokens_per_second"]["median"]
            for size, result in zip(sizes, results)
        )

    def seconds_to_first_token(self, peer, file, threads):
        """Returns the seconds from a process's start to its first text."""
        path = self.path(file)
        if peer == LLAMLX:
            command = [self.llamlx, "generate", "--model-path", path]
            command += ["--prompt", PROMPT, "--max-tokens", "1"]
            return first_output(command, llamlx_variables(None), "")
        command = [self._python(peer)]
        if peer == MLX_LM:
            command += ["-m", "mlx_lm", "generate", "--model", path]
            command += ["--prompt", PROMPT, "--max-tokens", "1"]
            command += ["--ignore-chat-template"]
            banner = "=" * 10 + "\n"
        else:
            command += ["-c", LLAMA_CPP_PROGRAM, path, PROMPT, threads]
            banner = ""
        return first_output(
            command, self._environment.variables(peer), banner
        )

    def _python(self, peer):
        problem = self._environment.error(peer)
        if problem:
            raise RunError(problem)
        return self._environment.python


def llamlx_variables(isa):
    """Returns the environment's variables for llamlx, held to `isa` if any."""
    forced = {"LLAMLX_FORCE_ISA": isa} if isa else {}
    return os.environ | forced


def first_output(command, variables, banner):
    """Returns the seconds to the first output after `banner`."""
    start = time.perf_counter()
    with subprocess.Popen(
        [str(word) for word in command],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        text = b""
        while len(text) <= len(banner):
            more = os.read(child.stdout.fileno(), 4096)
            if not more:
                raise RunError("ended before its first token")
            text += more
        seconds = time.perf_counter() - start
        child.stdout.read()
    return seconds
