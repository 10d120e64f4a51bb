#!/usr/bin/env python3
"""Measures mlx_lm on the CPU, by its own loop.

    drive_mlx_lm.py FOLDER [-p 32] [-n 8] [-r 1]

It has no choice of threads: -t names them only. There is no -d.
"""

import sys
import time
from importlib.metadata import version

import mlx.core as mx
import numpy as np
from driving import SEED, parse_arguments, report, results_of

mx.set_default_device(mx.cpu)
from mlx_lm import load  # noqa: E402
from mlx_lm.generate import generate_step  # noqa: E402


def measure(model, random, prompt, tokens):
    """Returns tokens a second of the prompt and of what follows its first.

    The first token ends the prompt's time.
    """
    ids = mx.array(random.integers(3, model.args.vocab_size, prompt))
    times = [time.perf_counter()]
    for _ in generate_step(ids, model, max_tokens=tokens + 1):
        times.append(time.perf_counter())
    return prompt / (times[1] - times[0]), tokens / (times[-1] - times[1])


def main():
    args = parse_arguments(__doc__)
    model, _ = load(args.model)
    # Weights are read when they are first needed.
    for _ in generate_step(mx.array([3]), model, max_tokens=1):
        pass
    random = np.random.default_rng(SEED)
    results = results_of(args, lambda p, n: measure(model, random, p, n))
    report(results, version=version("mlx-lm"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
