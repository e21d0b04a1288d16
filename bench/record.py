"""Runs a command that writes JSON and keeps the result, with what a reader needs to repeat it.

Usage: record.py NAME COMMAND...
Writes bench/results/NAME.json. `{}` in the command is replaced by a file that the command writes; without it,
its standard output is taken. Added: the command, the commit, the date and the machine.
"""
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    return f"{model.group(1) if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def commit():
    git = ["git", "-C", str(ROOT)]
    try:
        short = subprocess.run(git + ["rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
        changed = subprocess.run(git + ["status", "--porcelain", "--untracked-files=no", "--", "src", "apps", "cmake"],
                                 check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return short + (" with changes" if changed else "")


def run(command):
    """The JSON that the command writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "result.json"
        if "{}" in command:
            subprocess.run([str(file) if word == "{}" else word for word in command], check=True)
            return json.loads(file.read_text())
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    name, command = sys.argv[1], sys.argv[2:]
    result = run(command)
    if isinstance(result, list):
        result = {"results": result}
    shown = " ".join("FILE" if word == "{}" else word for word in command)
    result = {"command": shown, "commit": commit(), "date": datetime.date.today().isoformat(), "machine": machine(), **result}
    out = ROOT / "bench" / "results" / f"{name}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote {out.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
