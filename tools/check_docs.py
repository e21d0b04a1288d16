"""Fails when a document names a path that does not exist, or a committed file names a path of one machine.

Usage: check_docs.py [ROOT]
Looked at: every Markdown file; in it the targets of links, and words in code (`...` and fenced blocks) that
start with a folder or file of the repository's top level. Words with <placeholders> or NAME in them are left alone; `*` is a glob.
"""
import pathlib
import re
import subprocess
import sys

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
PATH = re.compile(r"[\w.*+/-]+")
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|work|Users|mnt)/\w")
OUTPUTS = ("build",)  # made, not committed


def words_of_code(text):
    for block in FENCE.findall(text):
        yield from block.split()
    for span in SPAN.findall(FENCE.sub("", text)):
        yield from span.split()


def dead_paths(root, document, top):
    text = document.read_text(encoding="utf-8")
    for word in words_of_code(text):
        word = re.sub(r":\d+$", "", word.strip("\"'(),;:")).rstrip(".")
        first = word.split("/")[0]
        if not PATH.fullmatch(word) or "NAME" in word or first not in top or first in OUTPUTS:
            continue
        if not any(root.glob(word.rstrip("/"))):
            yield word
    for target in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:") and not (document.parent / target).exists():
            yield target


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout.decode()
    files = [root / name for name in tracked.split("\0") if name and (root / name).is_file()]
    top = {file.relative_to(root).parts[0] for file in files}
    found = 0
    for file in files:
        if file.suffix == ".md":
            for path in dead_paths(root, file, top):
                print(f"{file.relative_to(root)}: names {path}, which does not exist", file=sys.stderr)
                found += 1
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # not text
        for number, line in enumerate(lines, 1):
            if MACHINE.search(line):
                print(f"{file.relative_to(root)}:{number}: a path of one machine: {line.strip()[:100]}", file=sys.stderr)
                found += 1
    print(f"check_docs: {found} dead or private paths")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
