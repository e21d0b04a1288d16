"""What an adapted model is worth: perplexity of unseen text and codes found, or sentences classified rightly."""
import math

import torch
import torch.nn.functional as F

ROWS_AT_ONCE = 8192  # of logits
TOKENS_AT_ONCE = 65536  # of windows


@torch.no_grad()
def perplexity(model, spec, ids, length, windows, device):
    """Of `windows` windows, evenly spaced."""
    begins = [i * (len(ids) - length - 1) // max(windows - 1, 1) for i in range(windows)]
    rows = torch.stack([torch.from_numpy(ids[b : b + length + 1].astype("int64")) for b in begins])
    total = 0.0
    for some in rows.split(max(TOKENS_AT_ONCE // length, 1)):
        some = some.to(device)
        hidden, targets = model(some[:, :-1], spec).flatten(0, 1), some[:, 1:].flatten()
        for h, t in zip(hidden.split(ROWS_AT_ONCE), targets.split(ROWS_AT_ONCE), strict=True):
            total += F.cross_entropy(model.logits(h).float(), t, reduction="sum").item()
    return math.exp(total / (windows * length))


@torch.no_grad()
def needles(model, spec, windows, count, device):
    """The part of hidden codes that would be said, each token of them given those before it."""
    found = 0
    made = [windows.needle(seed) for seed in range(count)]
    for i in range(0, count, max(TOKENS_AT_ONCE // windows.length, 1)):
        some = made[i : i + max(TOKENS_AT_ONCE // windows.length, 1)]
        rows = torch.cat([row for row, _ in some]).to(device)
        hidden = model(rows[:, :-1], spec)
        for (_, answer), row, h in zip(some, rows, hidden, strict=True):
            found += bool((model.logits(h[-answer:]).argmax(-1) == row[-answer:]).all())
    return found / count


@torch.no_grad()
def accuracy(model, spec, sentences, device, batch=256):
    right = 0
    for indices in sentences.batches(batch):
        ids, targets = sentences.take(indices)
        right += (model.scores(model(ids.to(device), spec)).argmax(-1).cpu() == targets).sum().item()
    return right / len(sentences)
