#!/usr/bin/env python3
"""Measures OpenVINO GenAI on a GGUF file, by its own counters.

    drive_openvino.py MODEL.gguf [-p 512] [-n 128] [-t 2] [-r 3]

A prompt's time is that to the first token, which is drawn in it. There is no
-d.
"""

import sys

import numpy as np
import openvino as ov
import openvino_genai as genai
from driving import SEED, parse_arguments, report, results_of

FIRST_ID, IDS = 259, 30000  # Ordinary tokens of every model here.


def measure(pipeline, random, prompt, tokens):
    """Returns tokens a second of the prompt and of what follows its first."""
    ids = random.integers(FIRST_ID, IDS, (1, prompt))
    inputs = genai.TokenizedInputs(
        ov.Tensor(ids), ov.Tensor(np.ones_like(ids))
    )
    config = genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = tokens + 1
    config.ignore_eos = True
    config.do_sample = False
    metrics = pipeline.generate(inputs, config).perf_metrics
    ms_a_prompt, ms_a_token = metrics.get_ttft().mean, metrics.get_tpot().mean
    return prompt * 1e3 / ms_a_prompt, 1e3 / ms_a_token


def main():
    args = parse_arguments(__doc__)
    pipeline = genai.LLMPipeline(
        args.model, "CPU", INFERENCE_NUM_THREADS=args.t
    )
    random = np.random.default_rng(SEED)
    measure(pipeline, random, args.p or 1, 1)
    results = results_of(args, lambda p, n: measure(pipeline, random, p, n))
    report(results, version=genai.__version__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
