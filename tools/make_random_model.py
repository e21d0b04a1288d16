#!/usr/bin/env python3
"""Write a GGUF of the Llama family with random weights, for speed comparisons only.

The default shape is that of Llama-3.2-1B with a vocabulary of 32,000: 16 layers, width 2048, 32/8 heads of 64,
ffn 8192, tied output. The vocabulary is a synthetic byte-level BPE that llama.cpp and lowkey both load. Weights are
normal with std 0.02; one random block per tensor name is drawn and each layer holds it rolled by a different number
of rows, so that every layer has its own bytes in the file and the file takes seconds to write.

    pip install numpy gguf
    tools/make_random_model.py --type q8_0 -o llama-1b-q8_0.gguf
"""
import argparse
import itertools
import string

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

from make_quant_fixture import HALVES, random_blocks

TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
    "q4_1": (GGMLQuantizationType.Q4_1, LlamaFileType.MOSTLY_Q4_1),
    "q5_0": (GGMLQuantizationType.Q5_0, LlamaFileType.MOSTLY_Q5_0),
    "q5_1": (GGMLQuantizationType.Q5_1, LlamaFileType.MOSTLY_Q5_1),
    "q2_k": (GGMLQuantizationType.Q2_K, LlamaFileType.MOSTLY_Q2_K),
    "q3_k": (GGMLQuantizationType.Q3_K, LlamaFileType.MOSTLY_Q3_K_S),
    "q4_k": (GGMLQuantizationType.Q4_K, LlamaFileType.MOSTLY_Q4_K_S),
    "q5_k": (GGMLQuantizationType.Q5_K, LlamaFileType.MOSTLY_Q5_K_S),
    "q6_k": (GGMLQuantizationType.Q6_K, LlamaFileType.MOSTLY_Q6_K),
}


def byte_letters():
    """GPT-2's printable stand-in of each byte, in byte order."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(moved)) for b in range(256)]


def vocabulary(size):
    """Tokens, types and merges: 256 bytes, then pairs, then triples of ASCII letters, then two control tokens."""
    space = byte_letters()[ord(" ")]
    letters = string.ascii_lowercase + string.ascii_uppercase
    pairs = [(a, b) for a, b in itertools.product(space + letters, letters)]
    triples = [(a + b, c) for a, b, c in itertools.product(space + letters, letters, letters)]
    merges = (pairs + triples)[: size - 258]
    tokens = byte_letters() + [a + b for a, b in merges] + ["<|begin_of_text|>", "<|end_of_text|>"]
    if len(tokens) != size:
        raise SystemExit(f"vocabulary {size}: must be between 258 and {258 + len(pairs) + len(triples)}")
    types = [TokenType.NORMAL] * (size - 2) + [TokenType.CONTROL] * 2
    return tokens, types, [f"{a} {b}" for a, b in merges]


def add_metadata(writer, args):
    writer.add_name("random weights")
    writer.add_block_count(args.layers)
    writer.add_context_length(args.context)
    writer.add_embedding_length(args.width)
    writer.add_feed_forward_length(args.ffn)
    writer.add_head_count(args.heads)
    writer.add_head_count_kv(args.kv_heads)
    writer.add_key_length(args.head_dim)
    writer.add_value_length(args.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(args.rope_base)
    writer.add_rope_dimension_count(args.head_dim)
    writer.add_vocab_size(args.vocab)
    writer.add_file_type(TYPES[args.type][1])
    tokens, types, merges = vocabulary(args.vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(args.vocab - 2)
    writer.add_eos_token_id(args.vocab - 1)
    writer.add_add_bos_token(True)


def super_blocks(kind, rows, columns, random):
    """Random bytes for types that the gguf package only reads; their f16 numbers make the values' std 0.02."""
    blocks = random_blocks(kind.name, random, rows * columns)[1].reshape(-1, GGML_QUANT_SIZES[kind][1])

    def set_halves(value):
        for at in HALVES[kind.name]:
            blocks[:, at:at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)

    set_halves(1)
    set_halves(0.02 / dequantize(blocks[:64].reshape(1, -1), kind).std())
    return blocks.reshape(rows, -1)


def add_tensors(writer, args):
    kind = TYPES[args.type][0]
    random = np.random.default_rng(args.seed)

    def block(rows, columns):  # quantised once; rows are independent in every type
        if kind.name.endswith("_K"):
            return super_blocks(kind, rows, columns, random)
        return quantize(random.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.02), kind)

    def add_norm(name):
        writer.add_tensor(name, 1 + np.float32(0.02) * random.standard_normal(args.width, dtype=np.float32))

    query, key = args.heads * args.head_dim, args.kv_heads * args.head_dim
    shapes = {
        "attn_q": (query, args.width), "attn_k": (key, args.width), "attn_v": (key, args.width),
        "attn_output": (args.width, query), "ffn_gate": (args.ffn, args.width),
        "ffn_up": (args.ffn, args.width), "ffn_down": (args.width, args.ffn),
    }
    blocks = {name: block(*shape) for name, shape in shapes.items()}
    writer.add_tensor("token_embd.weight", block(args.vocab, args.width), raw_dtype=kind)
    if not args.tied:
        writer.add_tensor("output.weight", block(args.vocab, args.width), raw_dtype=kind)
    add_norm("output_norm.weight")
    for layer in range(args.layers):
        add_norm(f"blk.{layer}.attn_norm.weight")
        add_norm(f"blk.{layer}.ffn_norm.weight")
        for name, data in blocks.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.roll(data, layer, axis=0), raw_dtype=kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    for name, value in dict(layers=16, width=2048, heads=32, kv_heads=8, head_dim=64, ffn=8192, vocab=32000,
                            context=131072, seed=1).items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    parser.add_argument("--rope-base", type=float, default=500000.0)
    parser.add_argument("--tied", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    writer = GGUFWriter(args.output, "llama")
    add_metadata(writer, args)
    add_tensors(writer, args)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
