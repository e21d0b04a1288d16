#!/usr/bin/env python3
"""Saves what the forms of atp make of a text in python/lowkey/adapt (PyTorch), so that the engine can be tested
against it without PyTorch: tests/atp_test.cc.

The fixture (safetensors) holds `ids` [T] i32, and for each spec of SPECS, under its own name, the logits of the rows
ROWS, [3, V] f32.

    PYTHONPATH=python tools/make_atp_fixture.py tests/data/tiny-llama3 -o tests/data/tiny-llama3.atp.safetensors
"""
import argparse

import torch
from lowkey.adapt import folder, spec
from safetensors.torch import save_file

WINDOW = ",sink=4,recent=16,chunk=32,min=0"
SPECS = [f"atp:form={form}{WINDOW}" for form in (
    "factor,r=1/2", "factor,r=1/8", "factor,r=1/4,basis=energy", "softmax,r=1/4", "softmax,r=1/8", "linear")]
ROWS = [60, 180, 299]  # behind one, five and eight chunks


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="Hugging Face folder")
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    model = folder.load(args.model)
    ids = torch.randint(2, model.config["vocab_size"], (1, 300), generator=torch.Generator().manual_seed(1))
    tensors = {"ids": ids[0].int()}
    with torch.no_grad():
        for text in SPECS:
            tensors[text] = model.logits(model(ids, spec.parse(text, causal=True)))[0, ROWS].contiguous()
    save_file(tensors, args.output, metadata={"torch": torch.__version__})
    print(f"{args.output}: {len(SPECS)} specs")


if __name__ == "__main__":
    main()
