"""The checks must be able to fail: each is given a small house with one fault, and one without.

Usage: checks_test.py
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))
import check_sizes  # noqa: E402


def passes(check, files):
    """Whether tools/<check>.py passes in a repository that holds these files."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        subprocess.run(["git", "add", "."], cwd=root, check=True)
        return subprocess.run([sys.executable, TOOLS / f"{check}.py", folder], capture_output=True).returncode == 0


class Checks(unittest.TestCase):
    def test_layers(self):
        self.assertTrue(passes("check_layers", {"src/kv/a.h": '#include "ops/b.h"\n#include "kv/c.h"\n#include "lowkey/error.h"\n'}))
        self.assertFalse(passes("check_layers", {"src/ops/a.h": '#include "kv/b.h"\n'}))
        self.assertFalse(passes("check_layers", {"src/text/a.cc": '#include "formats/b.h"\n'}))
        self.assertFalse(passes("check_layers", {"src/cellar/a.h": ""}))
        self.assertFalse(passes("check_layers", {"include/lowkey/a.h": '#include "base/b.h"\n'}))

    def test_methods(self):
        self.assertTrue(passes("check_methods", {"src/engine/a.h": "Request request;  // so that a sequence streams\n"}))
        self.assertTrue(passes("check_methods", {"src/attention/quest.h": "class Quest;\n", "src/kv/a_test.cc": "// dense\n"}))
        for text in ("int dense_layers;", "class QuestPages;", "kLoki", "// as H2O does", "loki::codes"):
            self.assertFalse(passes("check_methods", {"src/model/a.cc": text + "\n"}), text)

    def test_docs(self):
        self.assertTrue(passes("check_docs", {"docs/a.md": "`docs/a.md`, `docs/NAME.md`, [b](b.md), `build/x`\n", "docs/b.md": ""}))
        self.assertFalse(passes("check_docs", {"docs/a.md": "`docs/gone.md`\n"}))
        self.assertFalse(passes("check_docs", {"docs/a.md": "[b](gone.md)\n"}))
        self.assertFalse(passes("check_docs", {"docs/a.md": "```sh\ncat docs/gone.md\n```\n"}))
        self.assertFalse(passes("check_docs", {"a.cc": 'open("/' + 'home/someone/model.gguf");\n'}))

    def test_sizes_never_fails(self):
        self.assertTrue(passes("check_sizes", {"src/kv/a.cc": "int f() {\n" + "  g();\n" * 600 + "}\n"}))

    def test_sizes_finds_where_a_constructor_ends(self):
        for members in ("      : a_(1) {\n", "      : a_(1),\n        b_(2) {\n"):
            lines = ("  Thing()\n" + members + "    f();\n  }\n  int g() {\n" + "    h();\n" * 70 + "  }\n").splitlines()
            self.assertEqual([length for _, length in check_sizes.functions(lines)], [3, 72])


if __name__ == "__main__":
    unittest.main()
