#!/usr/bin/env python3
"""Prints the table at the end of ./demo.

usage: tools/demo_table.py (FORMAT FOLDER STATS)...

STATS is what `llamlx generate --stats` wrote for the model in FOLDER.
"""

import json
import pathlib
import sys

MEGABYTE = 1e6
HEADINGS = ("format", "on disk", "prompt", "generation", "first token",
            "peak memory")


def size_on_disk(folder):
    return sum(file.stat().st_size
               for file in pathlib.Path(folder).rglob("*") if file.is_file())


def row(name, folder, stats_file):
    stats = json.loads(pathlib.Path(stats_file).read_text(encoding="utf-8"))
    return (name,
            f"{size_on_disk(folder) / MEGABYTE:.0f} MB",
            f"{stats['prompt_tps']:.1f} tok/s",
            f"{stats['generation_tps']:.1f} tok/s",
            f"{stats['time_to_first_token_s']:.2f} s",
            f"{stats['peak_memory_bytes'] / MEGABYTE:.0f} MB")


def main(arguments):
    if not arguments or len(arguments) % 3 != 0:
        print(__doc__, file=sys.stderr)
        return 2
    rows = [HEADINGS]
    for first in range(0, len(arguments), 3):
        rows.append(row(*arguments[first:first + 3]))
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    rows.insert(1, tuple("-" * width for width in widths))
    for cells in rows:
        # The name stands to the left, figures to the right.
        line = [cells[0].ljust(widths[0])]
        line += [cell.rjust(width)
                 for cell, width in zip(cells[1:], widths[1:])]
        print("  ".join(line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
