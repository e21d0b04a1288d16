#!/usr/bin/env python3
"""Save what Hugging Face transformers computes for 2,048 tokens, small enough to commit.

The fixture (safetensors) holds, for a run in f32 with eager attention:
  ids            [T] i32     the input: BOS and the first T-1 tokens of a text, or seeded random ids
  probes         [T, P] f32  logits of P tokens per position: probe p of position t is (t + p * (V / P)) mod V,
                             so that all positions together see the whole vocabulary
  logsumexp      [T] f32     of all V logits
  max            [T] f32     the largest logit, and
  argmax         [T] i32     its token
  range          [2] f32     smallest and largest logit of all positions
  bf16_error     [2] f32     largest and root mean square error at the probes of PyTorch's own bf16 run

    pip install numpy torch transformers safetensors gguf
    tools/make_logits_fixture.py MODEL_FOLDER --text FILE -o tests/data/demo-12m.logits.safetensors
    tools/make_logits_fixture.py tests/data/tiny-llama3 -o tests/data/tiny-llama3.logits.safetensors
"""
import argparse

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoTokenizer

from hf_llama import documents, load_model


def make_ids(args, config):
    if not args.text:
        generator = torch.Generator().manual_seed(1)
        return torch.randint(2, config.vocab_size, (args.tokens,), generator=generator)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    text = documents(args.text)[0][: 16 * args.tokens].decode("utf-8", errors="ignore")
    ids = tokenizer.encode(text, add_special_tokens=False)
    return torch.tensor([config.bos_token_id, *ids][: args.tokens])


def logits_of(model, ids):
    with torch.no_grad():
        return model(ids[None]).logits[0].float()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="Hugging Face folder")
    parser.add_argument("--gguf", help="take the weights, dequantised, from this file")
    parser.add_argument("--text", help="the first document of this file; without it the ids are random")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = load_model(args.model, gguf=args.gguf)
    ids = make_ids(args, model.config)
    assert len(ids) == args.tokens, f"{args.text} has only {len(ids)} tokens"
    logits = logits_of(model, ids)
    vocabulary = logits.shape[1]
    position = torch.arange(args.tokens)[:, None]
    probe_ids = (position + torch.arange(args.probes) * (vocabulary // args.probes)) % vocabulary
    probes = logits.gather(1, probe_ids)
    half = logits_of(load_model(args.model, dtype=torch.bfloat16, gguf=args.gguf), ids)
    error = half.gather(1, probe_ids) - probes
    largest, token = logits.max(-1)
    save_file({
        "ids": ids.int(), "probes": probes, "logsumexp": logits.logsumexp(-1), "max": largest, "argmax": token.int(),
        "range": torch.stack([logits.min(), logits.max()]),
        "bf16_error": torch.stack([error.abs().max(), error.square().mean().sqrt()]),
    }, args.output, metadata={"torch": torch.__version__, "transformers": transformers.__version__})
    print(f"{args.output}: logits {logits.min():.3f}..{logits.max():.3f}, bf16 error max {error.abs().max():.4f} "
          f"rms {error.square().mean().sqrt():.5f}")


if __name__ == "__main__":
    main()
