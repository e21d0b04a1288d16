"""Reports files over 500 lines and functions over 60. Never fails: it says where to look again.

Usage: check_sizes.py [ROOT]
A function is found by the layout clang-format gives: a line that ends in `{` after a `)`, and the first line
below it that is `}` at the same indentation.
"""
import pathlib
import re
import sys

FILE_LINES, FUNCTION_LINES = 500, 60
OPENING = re.compile(r"^( *)(?!(?:if|for|while|switch|else|do|namespace|struct|class|enum|union)\b)[^ /#}].*\{$")


def indent_of(lines, start, indent):
    """Of the function whose `{` ends lines[start]; constructors have it after members, further in."""
    if lines[start].lstrip().startswith(": "):
        return indent[4:]
    for above in reversed(lines[max(0, start - 20):start]):
        if above.startswith(indent[2:] + ": "):
            return indent[6:]
        if not above.startswith(indent):
            break
    return indent


def functions(lines):
    """Yields (first line number, length) of each function."""
    skip_to = 0
    for start, line in enumerate(lines):
        opening = OPENING.match(line)
        if start < skip_to or not opening or not any(")" in above for above in lines[max(0, start - 3):start + 1]):
            continue
        closing = indent_of(lines, start, opening.group(1)) + "}"
        for end in range(start + 1, len(lines)):
            if lines[end].startswith(closing):
                skip_to = end
                yield start + 1, end - start + 1
                break


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    files = [f for folder in ("include", "src", "apps", "tests", "bench") for f in sorted((root / folder).rglob("*"))
             if f.suffix in (".h", ".cc", ".cu", ".cuh")]
    long_files = long_functions = 0
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        if len(lines) > FILE_LINES:
            print(f"{file.relative_to(root)}: {len(lines)} lines")
            long_files += 1
        for start, length in functions(lines):
            if length > FUNCTION_LINES:
                print(f"{file.relative_to(root)}:{start}: a function of {length} lines")
                long_functions += 1
    print(f"check_sizes: {len(files)} files, {long_files} over {FILE_LINES} lines, "
          f"{long_functions} functions over {FUNCTION_LINES}")


if __name__ == "__main__":
    main()
