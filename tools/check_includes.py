#!/usr/bin/env python3
"""Holds the sources to the rooms' arrows, and to ASCII.

usage: tools/check_includes.py

- A file in src/ROOM includes only headers of ROOM and of the rooms that
  src/ROOM/CMakeLists.txt says it NEEDS.
- The public headers in include/ include only the standard library and each
  other.
- Files in src/ itself, apps/ and tests/ may include every room; nothing
  includes apps/ or tests/.
- Every include names a file that exists, from src/ or include/.
- Headers open with #pragma once after their comment; sources are ASCII.
Exit status: 0 clean, 1 findings, a line each.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ROOM = re.compile(r"llamlx_room\((.*?)\)", re.DOTALL)
CODE_FOLDERS = ("include", "src", "apps", "tests", "examples", "bench")
# A header of the C++ standard library has neither a folder nor a suffix.
STANDARD = re.compile(r"[a-z_0-9]+")


def read_rooms():
    """Each room's name and the rooms it may include, itself among them."""
    rooms = {}
    for file in sorted((ROOT / "src").glob("*/CMakeLists.txt")):
        call = ROOM.search(file.read_text(encoding="utf-8"))
        if call is None:
            continue
        words = call.group(1).split()
        needs = set()
        if "NEEDS" in words:
            for word in words[words.index("NEEDS") + 1:]:
                if word.isupper():
                    break
                needs.add(word)
        rooms[file.parent.name] = needs | {words[0]}
    return rooms


def room_of(path, rooms):
    """The room a file belongs to, or None for one outside the rooms."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "src" and len(parts) > 2 and parts[1] in rooms:
        return parts[1]
    return None


def include_fault(path, quote, name, rooms):
    """What is wrong with one include, or None."""
    if path.relative_to(ROOT).parts[0] == "include":
        if quote == "<" and STANDARD.fullmatch(name):
            return None
        if quote == '"' and name.startswith("llamlx/"):
            return None
        return f"a public header may not include {name}"
    if quote == "<":
        return None
    if name.startswith("llamlx/"):
        exists = (ROOT / "include" / name).is_file()
        return None if exists else f"include/{name} does not exist"
    target = name.split("/")[0]
    if (ROOT / "src" / name).is_file():
        if target not in rooms:
            return f"{name} belongs to no room"
        room = room_of(path, rooms)
        if room is not None and target not in rooms[room]:
            return (f"room {room} does not need room {target}; see "
                    f"src/{room}/CMakeLists.txt")
        return None
    # Outside the rooms a folder may have headers of its own.
    if room_of(path, rooms) is None and (path.parent / name).is_file():
        return None
    return f"{name} is not a header, counted from src/"


def file_faults(path, rooms):
    """The faults of one file, as (line number, what)."""
    text = path.read_bytes()
    lines = text.decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.isascii():
            yield number, "a character outside ASCII; write it as an escape"
        match = INCLUDE.match(line)
        if match:
            fault = include_fault(path, *match.groups(), rooms)
            if fault:
                yield number, fault
    if path.suffix == ".h":
        code = [l for l in lines if l and not l.startswith("//")]
        if not code or code[0] != "#pragma once":
            yield 1, "a header starts with #pragma once after its comment"


def main(arguments):
    if arguments:
        print(__doc__)
        return 0 if arguments[0] in ("-h", "--help") else 2
    rooms = read_rooms()
    files = [path for folder in CODE_FOLDERS
             for path in sorted((ROOT / folder).rglob("*"))
             if path.suffix in (".h", ".cpp")]
    findings = [f"{path.relative_to(ROOT)}:{number}: {fault}"
                for path in files
                for number, fault in file_faults(path, rooms)]
    for finding in findings:
        print(finding)
    print(f"includes: {len(files)} files in {len(rooms)} rooms, "
          f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
