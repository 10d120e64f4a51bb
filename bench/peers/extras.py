"""The rows that are no race of tokens a second: share of bandwidth, depth,
start, memory, conversion. Standard library alone."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from contestants import RunError, Test
from environment import say
from races import LLAMA_CPP, LLAMLX, MLX_LM
from report import Row, Samples

MEASURE_CONVERT = (
    Path(__file__).resolve().parents[1] / "convert" / "measure_convert.py"
)
CACHE_BYTES = 2  # Of a key's or a value's number: a 16-bit type.
DEPTH, DEPTH_TOKENS, DEPTH_SLACK = 8192, 32, 1.15
CONTEXT, MEMORY_SLACK = 2048, 1.15
START_LIMIT_MS = 120
START_TURNS = 3  # A round is short.


@dataclass(frozen=True)
class Extra:
    """Rows of one name. rows(contestants, rounds) measures them."""

    name: str
    rows: Callable
    quick: bool = False


def in_turn(tasks, turns):
    """Runs the tasks, {who: function that returns a number}, in turn.

    mlx_lm takes the first turn alone.
    """
    samples = Samples()
    for turn in range(turns):
        for who, task in tasks.items():
            if samples.error(who) or (turn and who[0] == MLX_LM):
                continue
            say(f"round {turn + 1}: {' '.join(who)}")
            try:
                samples.add(who, task())
            except RunError as error:
                say(f"{' '.join(who)}: {error}")
                samples.fail(who, error)
    return samples


def notes_of(samples, *everyone):
    errors = [(who[0], samples.error(who)) for who in everyone]
    return "; ".join(f"{who}: {error}" for who, error in errors if error)


def cache_bytes(folder, positions):
    """Returns what keys and values of so many positions take, in 16 bits."""
    config = json.loads((folder / "config.json").read_text())
    numbers = 2 * config["num_key_value_heads"] * config["head_dim"]
    return config["num_hidden_layers"] * numbers * positions * CACHE_BYTES


def weight_bytes(folder):
    return sum(x.stat().st_size for x in folder.glob("*.safetensors"))


def bandwidth_rows(contestants, rounds):
    """Decoding beside the speed at which the machine reads, by llamlx."""
    who, test = (LLAMLX, "mlx/tiny-q4"), Test(tokens=128)

    def share():
        report, _ = contestants.report(*who, test)
        found = next(x for x in report["results"] if x["test"] == test.name)
        if not found.get("fraction_of_bandwidth"):
            raise RunError("llamlx bench tells no share of the bandwidth")
        return found["fraction_of_bandwidth"]

    samples = in_turn({who: share}, rounds)
    row = Row("1.1B 4-bit decode of read bandwidth", promise=90, unit="%")
    median = samples.median(who)
    row.value = median and 100 * median
    row.note = notes_of(samples, who)
    return [row]


def depth_rows(contestants, rounds):
    """Decoding after a long text, beside decoding after none."""
    ours = contestants.path("mlx/tiny-q4")
    files = {LLAMLX: "mlx/tiny-q4", LLAMA_CPP: "gguf/tiny-q4_0.gguf"}

    def speed(peer, depth):
        test = Test(tokens=DEPTH_TOKENS, depth=depth, repetitions=2)
        return lambda: contestants.speed(peer, files[peer], test)

    tasks = {
        (peer, str(depth)): speed(peer, depth)
        for depth in (0, DEPTH)
        for peer in files
    }
    samples = in_turn(tasks, rounds)
    slower, texts = {}, {}
    for peer in files:
        near = samples.median((peer, "0"))
        far = samples.median((peer, str(DEPTH)))
        if near and far:
            slower[peer] = near / far
            texts[peer] = f"{near:.4g} -> {far:.4g} tok/s"
    extra = cache_bytes(ours, DEPTH) / weight_bytes(ours)
    row = Row(
        f"1.1B 4-bit decode at depth {DEPTH}, time of depth 0's",
        LLAMA_CPP,
        texts.get(LLAMLX, ""),
        texts.get(LLAMA_CPP, ""),
        slower.get(LLAMLX),
        promise=(1 + extra) * DEPTH_SLACK,
        at_most=True,
    )
    bound = f"the cache is {extra:.0%} of the weights"
    row.note = "; ".join(filter(None, (bound, notes_of(samples, *tasks))))
    return [row]


def start_rows(contestants, rounds):
    """From a process's start to its first token; files are cached."""
    files = {
        LLAMLX: "mlx/smol-q4",
        LLAMA_CPP: "gguf/smol-q4_0.gguf",
        MLX_LM: "mlx/smol-q4",
    }

    def start(peer):
        file = files[peer]
        return lambda: contestants.seconds_to_first_token(peer, file, 2)

    def inside():
        test = Test(prompt=32, repetitions=1)
        report, _ = contestants.report(LLAMA_CPP, files[LLAMA_CPP], test)
        return report["first_token_s"]

    in_process = (LLAMA_CPP, "in process")
    tasks = {(peer, "process"): start(peer) for peer in files}
    tasks[in_process] = inside
    # Once for nothing, to cache files.
    in_turn(tasks, 1)
    samples = in_turn(tasks, rounds * START_TURNS)
    ours = samples.median((LLAMLX, "process"))
    name = "SmolLM2 135M 4-bit start to first token"
    text = f"{ours * 1e3:.0f} ms" if ours else ""
    rows = [
        Row(
            name,
            llamlx=text,
            value=ours and ours * 1e3,
            unit=" ms",
            promise=START_LIMIT_MS,
            at_most=True,
            note=notes_of(samples, (LLAMLX, "process")),
        )
    ]
    remarks = {
        (LLAMA_CPP, "process"): "by a line of Python: it brings no program",
        in_process: "Python and its imports not counted, for llama.cpp alone",
    }
    for who in list(tasks)[1:]:
        theirs = samples.median(who)
        rows.append(
            Row(
                name,
                who[0] if who[1] == "process" else " ".join(who),
                text,
                f"{theirs * 1e3:.0f} ms" if theirs else "",
                theirs / ours if theirs and ours else None,
                promise=None if who == in_process else 1.0,
                note="; ".join(
                    filter(None, (remarks.get(who), notes_of(samples, who)))
                ),
            )
        )
    return rows


def memory_rows(contestants, _rounds):
    """Peak resident memory, beside the bytes of the weights."""
    ours = contestants.path("mlx/tiny-q4")
    files = {LLAMLX: "mlx/tiny-q4", LLAMA_CPP: "gguf/tiny-q4_0.gguf"}
    test = Test(prompt=CONTEXT, repetitions=1)
    tasks = {
        (peer, file): lambda p=peer, f=file: contestants.report(p, f, test)[1]
        for peer, file in files.items()
    }
    samples = in_turn(tasks, 1)
    peaks = [samples.median(who) for who in tasks]
    texts = [f"{peak / 1e6:.0f} MB" if peak else "" for peak in peaks]
    cache, weights = cache_bytes(ours, CONTEXT), weight_bytes(ours)
    bound = (
        f"weights {weights / 1e6:.0f} MB; the cache of {CONTEXT} positions, "
        f"{cache / 1e6:.0f} MB in 16 bits, is not counted"
    )
    return [
        Row(
            f"1.1B 4-bit peak memory of the weights', context {CONTEXT}",
            LLAMA_CPP,
            *texts,
            peaks[0] and (peaks[0] - cache) / weights,
            promise=MEMORY_SLACK,
            at_most=True,
            note="; ".join(filter(None, (bound, notes_of(samples, *tasks)))),
        )
    ]


def convert_rows(contestants, rounds):
    """bf16 to 4 bits, beside the floor that ../convert measures."""
    source = contestants.path("mlx/tiny-bf16")

    def median_report():
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            command = [sys.executable, MEASURE_CONVERT]
            command += ["--repeat", str(rounds), contestants.llamlx]
            command += [source, Path(folder) / "q4", "-q"]
            result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines()
            raise RunError(lines[-1] if lines else "measure_convert.py failed")
        return json.loads(result.stdout)

    row = Row("1.1B convert bf16 to 4-bit of the floor", promise=80)
    row.unit = "%"
    try:
        median = median_report()
    except RunError as error:
        say(f"{LLAMLX} convert: {error}")
        row.note = f"{LLAMLX}: {error}"
        return [row]
    row.llamlx = f"{median['seconds']:.2f} s"
    row.value = 100 * median["share_of_floor"]
    row.note = f"{median['floor_is']} alone: {median['floor_seconds']:.2f} s"
    return [row]


EXTRAS = [
    Extra("1.1B 4-bit decode of read bandwidth", bandwidth_rows, quick=True),
    Extra("1.1B 4-bit decode at depth", depth_rows),
    Extra("SmolLM2 135M 4-bit start to first token", start_rows, quick=True),
    Extra("1.1B 4-bit peak memory", memory_rows, quick=True),
    Extra("1.1B convert bf16 to 4-bit", convert_rows),
]
