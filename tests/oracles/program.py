"""Drives the llamlx program, and counts what the checks find. Standard library
alone, so that any Python 3 can judge."""

import json
import struct
import subprocess
import sys
from pathlib import Path

# A greedy choice closer than this can fall differently in correct arithmetic.
CLOSE_MARGIN = 1e-3


class Program:
    """The llamlx program at `path`; failures of a run raise RuntimeError."""

    def __init__(self, path, logits_path=None):
        self._path = str(Path(path).resolve())
        self._logits_path = logits_path and str(Path(logits_path).resolve())

    @property
    def gives_logits(self):
        return bool(self._logits_path)

    def convert(self, source, destination, *options):
        self._run([self._path, "convert", source, destination, *options])

    def generate(self, model, max_tokens, *options, ids=None, text=None):
        """Continues `ids` or `text`. Returns the program's JSON document."""
        if ids is None:
            prompt = ["--prompt", "-"]
        else:
            prompt = ["--prompt-ids", join(ids)]
        return self._json(
            ["generate", "--model-path", model, *prompt]
            + ["--max-tokens", str(max_tokens), "--dtype", "float32", *options],
            text,
        )

    def perplexity(self, model, ids=None, text_file=None):
        what = ["--ids", join(ids)] if ids else ["--text-file", text_file]
        arguments = ["perplexity", "--model-path", model, "--dtype", "float32"]
        return self._json(arguments + what)

    def compare(self, a, b, ids):
        arguments = ["compare", a, b, "--prompt-ids", join(ids)]
        once = ["--max-tokens", "0", "--runs", "1", "--dtype", "float32"]
        return self._json(arguments + once)

    def logits(self, model, ids, scratch):
        """The logits of every position, as (shape, flat list of floats)."""
        out = Path(scratch) / "logits.npy"
        self._run([self._logits_path, model, join(ids), out])
        return read_npy(out)

    def _json(self, arguments, text=None):
        return json.loads(self._run([self._path, *arguments, "--json"], text))

    def run(self, *arguments, text="", cwd=None):
        """What the program prints, given `text` as its input."""
        return self._run([self._path, *arguments], text, cwd)

    def _run(self, command, text=None, cwd=None):
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            input=None if text is None else text.encode(),
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            what = " ".join(str(part) for part in command)
            if len(what) > 300:
                what = what[:300] + " ..."
            said = done.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"exit {done.returncode} of {what}: {said}")
        return done.stdout.decode()


def join(ids):
    return ",".join(str(i) for i in ids)


def read_npy(path):
    """Reads a float32 .npy file. Returns (shape, flat list)."""
    data = Path(path).read_bytes()
    length = struct.unpack_from("<H", data, 8)[0]
    start = 10 + length
    if data[6] > 1:
        start = 12 + struct.unpack_from("<I", data, 8)[0]
    header = data[:start].decode("latin-1")
    if "'<f4'" not in header or "'fortran_order': False" not in header:
        raise RuntimeError(f"{path}: expected C-ordered float32")
    shape = header.split("'shape': (")[1].split(")")[0]
    shape = tuple(int(n) for n in shape.split(",") if n.strip())
    count = (len(data) - start) // 4
    return shape, list(struct.unpack_from(f"<{count}f", data, start))


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


class Report:
    """Collects what held and what did not, by name."""

    def __init__(self):
        self._held = 0
        self._failed = 0
        self._excluded = 0

    def expect(self, name, holds, detail=""):
        if holds:
            self._held += 1
        else:
            self._failed += 1
            print(f"FAILED {name}: {detail}", flush=True)

    def equal(self, name, got, wanted):
        self.expect(name, got == wanted, f"got {got}, expected {wanted}")

    def near(self, name, got, wanted, tolerance):
        close = got is not None and abs(got - wanted) <= tolerance
        detail = f"got {got}, expected {wanted} within {tolerance:.3g}"
        self.expect(name, close, detail)

    def near_all(self, name, got, wanted, tolerance):
        """Compares two lists; reports the worst element."""
        if len(got) != len(wanted):
            self.expect(name, False, f"{len(got)} values for {len(wanted)}")
            return
        off = [abs(a - b) for a, b in zip(got, wanted)]
        # A NaN is near nothing, and max() might pass over it.
        bad = [i for i, value in enumerate(off) if not value <= tolerance]
        worst = bad[0] if bad else 0
        detail = (
            f"{len(bad)} of {len(got)} values differ; first {got[worst]} for "
            f"{wanted[worst]} at {worst}, allowed {tolerance:.3g}"
        )
        self.expect(name, not bad, detail)

    def greedy(self, name, got, wanted, margins):
        """Compares greedy tokens up to the first step too close to call,
        which is named."""
        for step, margin in enumerate(margins[: len(wanted)]):
            if margin < CLOSE_MARGIN:
                print(
                    f"excluded {name} from step {step} on: its margin is "
                    f"{margin}",
                    flush=True,
                )
                self._excluded += 1
                self.equal(name, got[:step], wanted[:step])
                return
        self.equal(name, got, wanted)

    def exclude(self, name, reason):
        """Leaves something out, and says so."""
        print(f"excluded {name}: {reason}", flush=True)
        self._excluded += 1

    def attempt(self, name, action):
        """Runs one part of a check; an exception fails it and no other."""
        try:
            action()
        except Exception as error:  # whatever it is, it is a finding
            self.expect(name, False, f"{type(error).__name__}: {error}")

    def finish(self):
        """Prints the sum; returns the exit status. Nothing at all fails."""
        print(
            f"{self._held} held, {self._failed} failed, "
            f"{self._excluded} excluded in part or whole"
        )
        return 1 if self._failed or not self._held else 0


def fail_usage(message):
    print(message, file=sys.stderr)
    raise SystemExit(2)
