"""What the drivers of the peers share: a command line and a report.

A driver is to its peer what `llamlx bench` is to llamlx: the same letters, and
the same JSON. Each test is warmed up, then repeated; tokens are random.
"""

import argparse
import json
import statistics
import time

SEED = 0


def parse_arguments(description):
    """Parses the letters of `llamlx bench` that the comparison uses."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model")
    parser.add_argument("-p", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("-n", type=int, default=128, help="tokens generated")
    parser.add_argument("-d", type=int, default=0, help="tokens before those")
    parser.add_argument("-t", type=int, default=2, help="threads")
    parser.add_argument("-r", type=int, default=3, help="repetitions")
    return parser.parse_args()


def test_name(letter, tokens, depth):
    """Returns what `llamlx bench` calls the test: pp512, tg128@d8192."""
    return f"{letter}{tokens}" + (f"@d{depth}" if depth else "")


def time_of(work):
    """Returns the seconds that work() takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def result(test, threads, speeds):
    """Returns a result of the report: tokens a second of each repetition."""
    return {
        "test": test,
        "threads": threads,
        "tokens_per_second": {
            "median": statistics.median(speeds),
            "min": min(speeds),
            "max": max(speeds),
        },
    }


def results_of(args, measure):
    """Returns the results of a peer that takes prompt and tokens together.

    measure(prompt, tokens) returns tokens a second of both; neither is 0, as
    nothing can be measured of either alone.
    """
    found = [measure(args.p or 1, args.n or 1) for _ in range(args.r)]
    results = []
    for letter, tokens, speeds in zip(
        ("pp", "tg"), (args.p, args.n), zip(*found)
    ):
        if tokens:
            name = test_name(letter, tokens, 0)
            results.append(result(name, args.t, speeds))
    return results


def report(results, **about):
    """Prints the report, a line."""
    print(json.dumps({"results": results, **about}), flush=True)
