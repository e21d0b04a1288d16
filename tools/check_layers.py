"""Fails when a room includes a room of its own floor or above: the house is built from below.

Usage: check_layers.py [ROOT]
include/lowkey is the front door: any room may include it, and it includes only itself. Tests in tests/ and
programs in apps/ and bench/ stand above all rooms.
"""
import pathlib
import re
import sys

FLOORS = {"base": 0, "formats": 1, "text": 1, "ops": 1, "linalg": 2, "kv": 2, "attention": 3, "model": 4, "engine": 5, "lab": 6}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)
SOURCES = {".h", ".cc", ".cu", ".cuh"}


def included(file):
    """The first folder of each file that `file` includes: a room, "lowkey", or something else."""
    for path in INCLUDE.findall(file.read_text(encoding="utf-8")):
        yield path, path.split("/")[0] if "/" in path else ""


def breaches(root):
    for file in sorted((root / "src").rglob("*")):
        if file.suffix not in SOURCES:
            continue
        room = file.relative_to(root / "src").parts[0]
        if room not in FLOORS:
            yield f"{file.relative_to(root)}: '{room}' is not a room; name its floor in tools/check_layers.py"
            continue
        for path, other in included(file):
            if other in FLOORS and other != room and FLOORS[other] >= FLOORS[room]:
                yield (f"{file.relative_to(root)}: includes {path}, but {room} (floor {FLOORS[room]}) "
                       f"may not include {other} (floor {FLOORS[other]})")
    for file in sorted((root / "include").rglob("*.h")):
        for path, other in included(file):
            if other in FLOORS:
                yield f"{file.relative_to(root)}: includes {path}, but the front door includes only lowkey/ headers"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = list(breaches(root))
    for line in found:
        print(line, file=sys.stderr)
    print(f"check_layers: {len(found)} includes that do not lead downstairs")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
