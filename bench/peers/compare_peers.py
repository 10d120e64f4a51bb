#!/usr/bin/env python3
"""Measures llamlx beside llama.cpp, mlx_lm and OpenVINO: one table.

    compare_peers.py path/to/llamlx [--quick] [--only REGEX] [--json FILE]

Installs the peers into an environment of their own and makes the models, each
once; then everyone runs in turn, a process at a time, and medians over the
rounds are set beside what llamlx promises. README.md says what it costs. The
table goes to standard output, everything else to standard error. Exit status:
0 if all promises measured were met, 1 if not. Standard library alone.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from contestants import Contestants, RunError, Test, parse, run
from environment import Environment, cpu_flags, cpu_name, has_amx, say
from extras import EXTRAS
from races import (
    LLAMA_CPP,
    LLAMLX,
    MLX_LM,
    MLX_LM_SIZES,
    OPENVINO,
    all_races,
    gguf,
)
from report import Row, Samples, markdown_table, text_table

HERE = Path(__file__).resolve().parent
# What matters for the speed of a model, of all that /proc/cpuinfo lists.
TELLING_FLAGS = re.compile(r"avx2|fma|f16c|avx_vnni|avx512.*|amx_.*")


def contenders(race):
    """Returns (peer, file) of everyone in a race, llamlx first, each once."""
    found = [(LLAMLX, race.folder)]
    for rival in race.rivals:
        found += [(rival.peer, file) for file in rival.files]
    return list(dict.fromkeys(found))


def test_of(race, peer):
    """Returns what a peer measures in a race."""
    if peer != MLX_LM:
        return Test(
            race.prompt,
            race.tokens,
            threads=race.threads,
            repetitions=race.repetitions,
        )
    prompt, tokens = MLX_LM_SIZES[race.model]
    if race.prompt:
        return Test(prompt=prompt, repetitions=1)
    return Test(tokens=tokens, repetitions=1)


def measure(race, contestants, rounds):
    """Runs a race: everyone in turn, round by round."""
    samples = Samples()
    for turn in range(rounds):
        for who in contenders(race):
            peer, file = who
            if samples.error(who) or (turn and peer == MLX_LM):
                continue
            say(f"{race.name}, round {turn + 1}: {peer} {file}")
            isa = race.isa if peer == LLAMLX else None
            try:
                test = test_of(race, peer)
                samples.add(who, contestants.speed(peer, file, test, isa))
            except RunError as error:
                say(f"{peer} {file}: {error}")
                samples.fail(who, error)
    return samples


def speed_text(value):
    return "" if value is None else f"{value:.4g} tok/s"


def rows_of(race, samples):
    """Returns a row for every rival of a race."""
    ours = samples.median((LLAMLX, race.folder))
    rows = []
    for rival in race.rivals:
        row = Row(race.name, rival.peer, promise=rival.promise)
        row.llamlx = speed_text(ours)
        everyone = [(rival.peer, file) for file in rival.files]
        ran = [who for who in everyone if samples.median(who)]
        notes = [samples.error((LLAMLX, race.folder))]
        notes += [
            f"{Path(who[1]).stem}: {samples.error(who)}"
            for who in everyone
            if samples.error(who)
        ]
        if ran:
            best = max(ran, key=samples.median)
            row.rival += " " + Path(best[1]).stem
            row.rivals = speed_text(samples.median(best))
            row.value = samples.ratio((LLAMLX, race.folder), best)
        if rival.peer == MLX_LM:
            notes.append(f"mlx_lm: {test_of(race, MLX_LM).name}, once")
        row.note = "; ".join(filter(None, notes))
        rows.append(row)
    return rows


def machine(llamlx):
    """Returns what the machine is, and how fast it reads, as llamlx finds."""
    flags = sorted(filter(TELLING_FLAGS.fullmatch, cpu_flags()))
    about = {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_sets": flags,
    }
    try:
        output, _ = run([llamlx, "bench", "--limits", "--json"])
        about["limits"] = parse(output)["machine"]["limits"]
    except (RunError, KeyError) as error:
        say(f"llamlx cannot tell this machine's limits: {error}")
    return about


def machine_text(about):
    """Returns the lines above the table."""
    lines = [
        f"{about['cpu']}, {about['cores']} cores: "
        + " ".join(about["instruction_sets"])
    ]
    for found in about.get("limits", {}).get("read_bandwidth", []):
        pages = "huge" if found["huge_pages"] else "4 KiB"
        lines.append(
            f"reads {found['bytes'] / 2**20:.0f} MiB at "
            f"{found['gb_per_s']:.1f} GB/s ({pages} pages, "
            f"{found['threads']} threads)"
        )
    return "\n".join(lines)


def make_models(environment, models, llamlx):
    """Makes the models that are missing, by the environment's Python."""
    command = [environment.python, HERE / "make_models.py", models]
    variables = environment.variables("llama.cpp")
    result = subprocess.run(
        [*command, "--llamlx", llamlx], env=variables, stdout=sys.stderr
    )
    if result.returncode != 0:
        say("not all models could be made; their rows will say so")


def choose_build(environment, contestants):
    """Has the environment keep the faster build of llama.cpp."""
    test = Test(512, 128, repetitions=3)
    file = gguf("smol", "Q4_0")[0]

    def seconds(variables):
        return contestants.seconds_of_llama_cpp(file, test, variables)

    try:
        environment.choose(seconds)
    except RunError as error:
        say(f"llama.cpp's builds cannot be compared: {error}")


def publish(about, rows, measured, args):
    """Prints the table, and writes the file that --json names."""
    if args.json:
        document = {"machine": about, "rows": [x.document() for x in rows]}
        document["measured"] = measured
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    print(machine_text(about))
    print()
    print(markdown_table(rows) if args.markdown else text_table(rows))


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("llamlx", type=Path, help="the program")
    parser.add_argument("--models", type=Path, default=HERE / "models")
    parser.add_argument("--environment", type=Path, default=HERE / "venv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few rows")
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="rows that match this"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=(LLAMA_CPP, MLX_LM, OPENVINO),
        help="leave a peer out of the races; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not os.access(args.llamlx, os.X_OK):
        parser.error(f"{args.llamlx} is no program; build llamlx first")
    args.llamlx = args.llamlx.resolve()
    return args


def wanted(items, args):
    """Returns the races or extras that the command line asks for."""
    return [
        item
        for item in items
        if re.search(args.only, item.name) and (item.quick or not args.quick)
    ]


def without(races, peers):
    """Returns the races with some peers out of them."""
    return [
        replace(
            race, rivals=tuple(x for x in race.rivals if x.peer not in peers)
        )
        for race in races
    ]


def main():
    args = parse_arguments()
    races = without(wanted(all_races(has_amx()), args), args.without)
    extras = wanted(EXTRAS, args)
    if args.list:
        print("\n".join(item.name for item in [*races, *extras]))
        return 0
    environment = Environment(args.environment)
    environment.install()
    make_models(environment, args.models, args.llamlx)
    contestants = Contestants(args.llamlx, environment, args.models)
    if not environment.error(LLAMA_CPP):
        choose_build(environment, contestants)
    about = machine(args.llamlx)
    rows, measured = [], {}
    try:
        for race in races:
            samples = measure(race, contestants, args.rounds)
            measured[race.name] = samples.document()
            rows += rows_of(race, samples)
        for extra in extras:
            say(extra.name)
            rows += extra.rows(contestants, args.rounds)
    finally:
        # An hour's rows outlive a row that fails, and Ctrl-C.
        publish(about, rows, measured, args)
    return 1 if any(row.met == "no" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
