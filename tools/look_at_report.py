#!/usr/bin/env python3
"""Opens pages of `lowkey report` in headless Chromium, at the widths of a desk and a phone, light and dark: takes
pictures to look at, and fails when a page asks the network for anything, logs an error, draws no chart that it has data
for, or is wider than its window. Then without JavaScript, where it must have its tables all the same.

Usage: look_at_report.py PAGE... [-o FOLDER]      needs Debian's chromium
"""
import argparse
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

SIZES = {"desk": (1280, 900, False), "phone": (390, 844, True)}
# What the page says of itself: its width beyond the window, charts with data, charts that drew something.
FACTS = """(() => {
  const painted = canvas => { const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return d.some(v => v !== 0); };
  const figures = [...document.querySelectorAll('figure[data-chart]')];
  return JSON.stringify({beyond: document.documentElement.scrollWidth - window.innerWidth, charts: figures.length,
    drawn: figures.filter(f => f.querySelector('canvas') && painted(f.querySelector('canvas'))).length,
    tables: [...document.querySelectorAll('table')].filter(t => t.closest('details') || t.offsetHeight > 0).length,
    height: document.documentElement.scrollHeight, script: typeof Chart !== 'undefined'});
})()"""


class Browser:
    """Chromium over a pipe: messages are JSON that ends in a zero byte."""

    def __init__(self):
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if not program:
            sys.exit("look_at_report: no chromium")
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()

        def place():  # Chromium reads commands from 3 and answers on 4
            os.dup2(there_in, 63), os.dup2(there_out, 64)
            os.dup2(63, 3), os.dup2(64, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--no-first-run", f"--user-data-dir={self.folder.name}"],
            preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(there_in), os.close(there_out)
        self.out, self.input, self.rest, self.number, self.events = here_out, here_in, b"", 0, []

    def receive(self):
        while b"\0" not in self.rest:
            self.rest += os.read(self.input, 1 << 20)
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"look_at_report: {method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def close(self):
        self.call("Browser.close")
        self.process.wait()
        self.folder.cleanup()


def look(browser, page, size, theme, folder, scripts=True):
    """Problems of one page in one window; its picture goes to the folder."""
    width, height, phone = SIZES[size]
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in "Page", "Runtime", "Log", "Network":
        browser.call(f"{domain}.enable", session)
    metrics = {"width": width, "deviceScaleFactor": 1, "mobile": phone}
    browser.call("Emulation.setDeviceMetricsOverride", session, height=height, **metrics)
    browser.call("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": theme}])
    browser.call("Emulation.setScriptExecutionDisabled", session, value=not scripts)
    browser.events.clear()
    browser.call("Page.navigate", session, url=page.resolve().as_uri())
    time.sleep(1.5)
    facts = json.loads(browser.call("Runtime.evaluate", session, expression=FACTS)["result"]["value"])
    browser.call("Emulation.setDeviceMetricsOverride", session, height=min(facts["height"], 16000), **metrics)
    time.sleep(0.5)
    picture = browser.call("Page.captureScreenshot", session, format="png")["data"]
    still = "" if scripts else "-still"
    (folder / f"{page.stem}-{size}-{theme}{still}.png").write_bytes(base64.b64decode(picture))
    problems = []
    for event in browser.events:
        kind, params = event.get("method"), event.get("params", {})
        if kind == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            problems.append(f"asks for {params['request']['url']}")
        if kind == "Runtime.exceptionThrown":
            problems.append(f"script: {params['exceptionDetails'].get('exception', {}).get('description')}")
        if kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            problems.append(f"log: {params['entry']['text']}")
        if kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            problems.append(f"console: {params['args']}")
    if facts["beyond"] > 0:
        problems.append(f"is {facts['beyond']} pixels wider than its window")
    if facts["script"] and facts["drawn"] < facts["charts"]:
        problems.append(f"drew {facts['drawn']} of {facts['charts']} charts")
    if facts["script"] != scripts:
        problems.append("has scripts without JavaScript" if facts["script"] else "has lost its scripts")
    if facts["tables"] == 0:
        problems.append("shows no table")
    browser.call("Target.closeTarget", targetId=target)
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=pathlib.Path, nargs="+")
    parser.add_argument("-o", "--out", type=pathlib.Path, default=pathlib.Path("."), help="where pictures go")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    browser, bad = Browser(), 0
    for page in args.page:
        for size in SIZES:
            for theme, scripts in ("light", True), ("dark", True), ("light", False):
                problems = look(browser, page, size, theme, args.out, scripts)
                bad += len(problems)
                how = theme if scripts else f"{theme}, no JavaScript"
                print(f"{page.name} {size} {how}: {'; '.join(problems) or 'right'}")
    browser.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
