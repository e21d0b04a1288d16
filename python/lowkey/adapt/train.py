"""The loop: steps until a number of them or a time is reached, with checkpoints; what a step does, a task says."""
import copy
import math
import pathlib
import pickle
import signal
import sys
import time

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

ROWS_AT_ONCE = 8192  # of logits


class TextTask:
    """Next tokens of a text: towards what the dense model would say (distil), or the text itself. tail: the weight of
    what factors lose, beside it."""

    def __init__(self, model, spec, windows, batch, distil, tail=0.0):
        self.model, self.spec, self.windows, self.count, self.tail = model, spec, windows, batch, tail
        self.teacher = copy.deepcopy(model).requires_grad_(False) if distil else None
        if tail:
            model.count_losses()

    def batch(self, seed, step):
        return self.windows.batch(self.count, seed * 1_000_003 + step)

    def loss(self, ids):
        hidden = self.model(ids[:, :-1], self.spec).flatten(0, 1)
        lost = self.tail * self.model.lost() if self.tail else 0
        if self.teacher is None:
            return lost + self._in_parts(_cross_entropy, hidden, ids[:, 1:].flatten())
        with torch.no_grad():
            wanted = self.teacher(ids[:, :-1]).flatten(0, 1)
        return lost + self._in_parts(self._divergence, hidden, wanted)

    def _in_parts(self, part, hidden, wanted):
        """The mean over rows, whose logits never are in memory all at once."""
        total = 0
        for begin in range(0, len(hidden), ROWS_AT_ONCE):
            rows = slice(begin, begin + ROWS_AT_ONCE)
            total = total + checkpoint(part, self.model, hidden[rows], wanted[rows], use_reentrant=False)
        return total / len(hidden)

    def _divergence(self, model, hidden, wanted):
        with torch.no_grad():
            target = F.log_softmax(self.teacher.logits(wanted).float(), -1)
        return F.kl_div(F.log_softmax(model.logits(hidden).float(), -1), target, reduction="sum", log_target=True)


def _cross_entropy(model, hidden, targets):
    return F.cross_entropy(model.logits(hidden).float(), targets, reduction="sum")


class SentenceTask:
    """Classes of sentences."""

    def __init__(self, model, spec, sentences, batch):
        self.model, self.spec, self.sentences, self.count = model, spec, sentences, batch
        self.steps_per_epoch = len(sentences.batches(batch, 0))
        self.epoch, self.order = None, None

    def batch(self, seed, step):
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, self.sentences.batches(self.count, seed * 1009 + epoch)
        return self.sentences.take(self.order[place])

    def loss(self, batch):
        ids, targets = batch
        return F.cross_entropy(self.model.scores(self.model(ids, self.spec)).float(), targets)


def to_device(batch, device):
    return batch.to(device, non_blocking=True) if torch.is_tensor(batch) else tuple(t.to(device) for t in batch)


class Trainer:
    """Runs a task. Its state is a checkpoint file: the same command with --resume goes on from it."""

    def __init__(self, model, task, device, *, seed, rate, steps, seconds, file, every=60.0, decay=0.01):
        self.model, self.task, self.device, self.seed = model, task, device, seed
        self.rate, self.steps, self.seconds = rate, steps, seconds
        self.file, self.every = pathlib.Path(file), every
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in self.parameters if p.dim() > 1]
        rest = [p for p in self.parameters if p.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
        groups = [g for g in groups if g["params"]]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=device == "cuda")
        self.step, self.elapsed, self.losses = 0, 0.0, []

    def resume(self):
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError):
            raise ValueError(f"{self.file}: no checkpoint of a training, or cut off: must be removed") from None
        if [p.shape for p in state["parameters"]] != [p.shape for p in self.parameters]:
            raise ValueError(f"{self.file}: of other parameters, must be resumed with the options that it began with")
        with torch.no_grad():
            for p, saved in zip(self.parameters, state["parameters"], strict=True):
                p.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed, self.losses = state["step"], state["elapsed"], state["losses"]

    def save(self):
        part = self.file.with_name(self.file.name + ".part")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(
            {
                "parameters": [p.detach().cpu() for p in self.parameters],
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "elapsed": self.elapsed,
                "losses": self.losses,
            },
            part,
        )
        part.replace(self.file)

    def done(self):
        """The part of the way that is behind: of the steps, or of the time, whichever ends first."""
        by_steps = self.step / self.steps if self.steps else 0
        return max(by_steps, self.elapsed / self.seconds if self.seconds else 0)

    def run(self):
        """True when the end is reached; False when Ctrl-C came before: all steps so far are in the checkpoint then."""
        stop = []
        self.model.train()
        before = signal.signal(signal.SIGINT, lambda *_: stop.append(True))
        saved = last = time.monotonic()
        shown = -1.0
        try:
            while self.done() < 1 and not stop:
                loss = self._one_step()
                now = time.monotonic()
                self.elapsed, last = self.elapsed + now - last, now
                if now - shown > (0.5 if sys.stderr.isatty() else 20.0):
                    self.losses.append([self.step, round(loss.item(), 5)])
                    shown = now
                    self._show()
                if now - saved > self.every:
                    self.save()
                    saved = now
            self.save()
        finally:
            signal.signal(signal.SIGINT, before)
            self.model.eval()
            if sys.stderr.isatty():
                print(file=sys.stderr)
        return not stop

    def warning(self):
        """What is to be said of the losses, or None."""
        values = [loss for _, loss in self.losses]
        if len(values) < 10:
            return None
        first, last = sum(values[:3]) / 3, sum(values[-5:]) / 5
        if last <= 1.1 * first:
            return None
        return f"the loss rose from {first:.4f} to {last:.4f}: a lower --rate than {self.rate:g} may do better"

    def _one_step(self):
        rate = self.rate * _schedule(self.done(), self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.task.loss(to_device(self.task.batch(self.seed, self.step), self.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.detach()

    def _show(self):
        done = min(self.done(), 1.0)
        left = self.elapsed / done - self.elapsed if done else 0
        bar = "#" * round(24 * done)
        line = f"[{bar:<24}] step {self.step} loss {self.losses[-1][1]:.4f} {_clock(left)} left"
        print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def _schedule(done, step, warm_steps=20, floor=0.02):
    """A short warm-up, then a cosine."""
    return min(1.0, (step + 1) / warm_steps) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def _clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
