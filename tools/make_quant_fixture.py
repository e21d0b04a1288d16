#!/usr/bin/env python3
"""What the quantised types of GGUF mean, by the gguf package: random blocks and the values it reads from them.

Writes a GGUF file that holds, for each type, a tensor NAME of random bytes (its f16 numbers finite) and NAME.values, f32,
what gguf.quants.dequantize makes of it. tests/quantised_values_test.cc compares bit for bit.

    pip install numpy gguf
    tools/make_quant_fixture.py -o tests/data/quantised.gguf
"""
import argparse
import pathlib

import gguf
import numpy

ELEMENTS = 1024
# Where the f16 numbers of a block lie.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def random_blocks(name, random, count=ELEMENTS):
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (count // elements, size), dtype=numpy.uint8)
    for at in HALVES[name]:
        blocks[:, at + 1] &= 0xbf  # an exponent below the highest: neither infinite nor NaN
    return kind, blocks.reshape(1, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    random = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(args.output, "none")
    for name in HALVES:
        kind, blocks = random_blocks(name, random)
        writer.add_tensor(name, blocks, raw_dtype=kind)
        writer.add_tensor(f"{name}.values", gguf.quants.dequantize(blocks, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
