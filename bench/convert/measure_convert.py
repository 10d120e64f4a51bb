#!/usr/bin/env python3
"""Measures a conversion, and the disk under it.

    measure_convert.py path/to/llamlx SOURCE DEST [options of convert]

Prints JSON: the seconds of `llamlx convert`, its memory and what it read and
wrote; the seconds that reading and writing as much take alone, one plain loop
each; how many times both the conversion took; and the share of the floor it
reached. The floor is the slower of the two, as they can pass side by side. The
source starts out of the page cache or, with --cached, in it; all counts until
the disk has the result. --repeat N takes the median of N turns of everything.
DEST must not exist, and is removed afterwards unless --keep is given; options
of this script come first. Standard library alone; Linux, as the page cache is
asked to let go.
"""

import argparse
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

CHUNK = 8 << 20


def files_of(path):
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file())


def size_of(path):
    return sum(p.stat().st_size for p in files_of(path))


def forget(path):
    """Asks the page cache to let the files go."""
    for file in files_of(path):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fdatasync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def read_seconds(path):
    """How long the files take to read, from wherever they are."""
    buffer = bytearray(CHUNK)
    start = time.perf_counter()
    for file in files_of(path):
        with open(file, "rb", buffering=0) as source:
            while source.readinto(buffer):
                pass
    return time.perf_counter() - start


def write_seconds(path, size):
    """How long `size` bytes take to write, until the disk has them."""
    data = os.urandom(CHUNK)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for at in range(0, size, CHUNK):
            file.write(data[: size - at])
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


class Watch(threading.Thread):
    """Follows a process's own memory, without the files that it maps."""

    def __init__(self, process_id):
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{process_id}/status")
        self.peak_bytes = 0

    def run(self):
        while True:
            try:
                lines = self._status.read_text().split("\n")
            except OSError:
                return
            found = [line for line in lines if line.startswith("RssAnon:")]
            if not found:
                return
            now = int(found[0].split()[1]) * 1024
            self.peak_bytes = max(self.peak_bytes, now)
            time.sleep(0.02)


def run_measured(command):
    """Runs the command. Returns what it took, as the system counts it."""
    start = time.perf_counter()
    child = os.posix_spawn(
        command[0],
        command,
        os.environ,
        # The report alone goes to standard output.
        file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)],
    )
    watch = Watch(child)
    watch.start()
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    watch.join()
    if status != 0:
        raise SystemExit(os.waitstatus_to_exitcode(status))
    return {
        "seconds": seconds,
        "user_seconds": usage.ru_utime,
        "system_seconds": usage.ru_stime,
        # With pages of mapped files, and no less than this script's own.
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "peak_own_memory_bytes": watch.peak_bytes,
        # The system counts blocks of 512 bytes, of whichever disk.
        "disk_read_bytes": usage.ru_inblock * 512,
        "disk_written_bytes": usage.ru_oublock * 512,
    }


def measure(args):
    """One conversion, and the limits beside it."""
    prepare = read_seconds if args.cached else forget
    program = str(args.program.resolve())
    paths = [str(args.source), str(args.dest)]
    prepare(args.source)
    report = run_measured([program, "convert", *paths, *args.options])
    report["source_bytes"] = size_of(args.source)
    report["dest_bytes"] = size_of(args.dest)
    if not args.keep:
        shutil.rmtree(args.dest)
    beside = args.dest.with_name(args.dest.name + ".probe")
    prepare(args.source)
    reading = read_seconds(args.source)
    writing = write_seconds(beside, report["dest_bytes"])
    floor = max(reading, writing)
    report |= {
        "read_seconds": reading,
        "write_seconds": writing,
        "read_bytes_per_s": report["source_bytes"] / reading,
        "write_bytes_per_s": report["dest_bytes"] / writing,
        "times_both": report["seconds"] / (reading + writing),
        "floor_seconds": floor,
        "floor_is": "reading" if floor == reading else "writing",
        "share_of_floor": floor / report["seconds"],
    }
    return report


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep", action="store_true", help="leave DEST there")
    parser.add_argument("--cached", action="store_true",
                        help="have the source in the page cache")
    parser.add_argument("--repeat", type=int, default=1, metavar="N")
    parser.add_argument("program", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("dest", type=Path)
    parser.add_argument("options", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.dest.exists():
        parser.error(f"{args.dest} exists already")
    if args.keep and args.repeat != 1:
        parser.error("--keep and --repeat exclude each other")
    reports = [measure(args) for _ in range(args.repeat)]
    reports.sort(key=lambda report: report["share_of_floor"])
    print(json.dumps(reports[len(reports) // 2], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
