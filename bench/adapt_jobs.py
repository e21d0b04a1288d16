"""Runs trainings of lowkey.adapt side by side on one device, each a process, and keeps every result as it comes."""
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from record import ROOT, commit, machine


class Results:
    """A JSON file of runs, which are not made again, and in `results` what `summary` makes of them, for tables."""

    def __init__(self, file, facts, summary):
        self.file, self.summary = pathlib.Path(file), summary
        self.all = json.loads(self.file.read_text()) if self.file.exists() else {"runs": []}
        if "machine" not in self.all:
            facts = {**facts, "machine": device_name(), "commit": commit(), "date": datetime.date.today().isoformat()}
        self.all.update(facts)

    def has(self, key):
        return any(all(row.get(k) == v for k, v in key.items()) for row in self.all["runs"])

    def add(self, row):
        self.all["runs"].append(row)
        self.all["results"] = self.summary(self.all["runs"])
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.all, indent=1) + "\n")
        part.replace(self.file)


def device_name():
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else machine()


def run_all(jobs, at_once, minutes):
    """jobs: (name, words, done(stdout)). Starts them in order; what is not done in time is told to save and stop."""
    end = time.monotonic() + 60 * minutes
    waiting, running = list(jobs), []
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "OMP_NUM_THREADS": "1"}
    while waiting or running:
        while waiting and len(running) < at_once and time.monotonic() < end:
            name, words, done = waiting.pop(0)
            process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
            running.append((name, process, done, time.monotonic()))
        for job in list(running):
            name, process, done, began = job
            if process.poll() is None:
                continue
            running.remove(job)
            output = process.stdout.read()
            print(f"{name}: {time.monotonic() - began:.0f} s, {output.strip() or process.returncode}", flush=True)
            if process.returncode == 0:
                done(output)
        if time.monotonic() > end:
            for _, process, _, _ in running:
                process.send_signal(signal.SIGINT)
            for name, process, _, _ in running:
                process.wait()
                print(f"{name}: not done in time", file=sys.stderr)
            return
        time.sleep(0.2)


def command(verb, model, *words):
    return [sys.executable, "-m", "lowkey.adapt", verb, str(model), *map(str, words)]
