#!/usr/bin/env python3
"""Write a tiny random model of a family for tests (below 1 MB), as a Hugging Face folder.

Each shape meets the corners of its family: grouped queries, a head_dim that is not hidden/heads where the family allows
it, windows and original contexts so short that they matter within some hundred positions. The weights are large (std
0.15), so that attention is peaked and the logits have a real range. config.json is written as published models of the
family have it; the tensors have the names and the form in which they are published.

    pip install numpy torch transformers tokenizers
    for f in qwen2 qwen3 qwen3_moe mistral mixtral phi3 gpt_neox gpt2 gemma2 gemma3_text; do
      tools/make_tiny_family.py $f -o tests/data/tiny-$f
      tools/make_logits_fixture.py tests/data/tiny-$f --tokens 384 -o tests/data/tiny-$f.logits.safetensors
    done
    tools/make_logits_fixture.py tests/data/tiny-phi3 --tokens 64 -o tests/data/tiny-phi3-short.logits.safetensors
"""
import argparse
import json
import math
import pathlib
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from make_tiny_model import make_tokenizer

SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "hidden_act": "silu", "tie_word_embeddings": False,
}
GEMMA = {**SHAPE, "head_dim": 24, "num_hidden_layers": 4, "hidden_activation": "gelu_pytorch_tanh",
         "hidden_act": "gelu_pytorch_tanh", "sliding_window": 40, "query_pre_attn_scalar": 24, "attention_bias": False}
del GEMMA["tie_word_embeddings"]  # published ones do not say it
FAMILIES = {
    "qwen2": {**SHAPE, "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False, "sliding_window": 100,
              "max_window_layers": 2, "tie_word_embeddings": True,
              "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
    "qwen3": {**SHAPE, "architectures": ["Qwen3ForCausalLM"], "head_dim": 24, "attention_bias": False,
              "use_sliding_window": False, "sliding_window": None, "rope_theta": 1000000},
    "qwen3_moe": {**SHAPE, "architectures": ["Qwen3MoeForCausalLM"], "head_dim": 24, "attention_bias": False,
                  "use_sliding_window": False, "sliding_window": None, "rope_theta": 1000000, "num_experts": 6,
                  "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True,
                  "decoder_sparse_step": 1, "mlp_only_layers": [], "output_router_logits": False},
    "mistral": {**SHAPE, "architectures": ["MistralForCausalLM"], "sliding_window": 100},
    "mixtral": {**SHAPE, "architectures": ["MixtralForCausalLM"], "sliding_window": None, "num_local_experts": 4,
                "num_experts_per_tok": 2, "intermediate_size": 64, "output_router_logits": False},
    "phi3": {**SHAPE, "architectures": ["Phi3ForCausalLM"], "head_dim": 32, "hidden_size": 128,
             "num_key_value_heads": 4, "intermediate_size": 128, "partial_rotary_factor": 0.75,
             "original_max_position_embeddings": 64, "sliding_window": 300, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
             "rope_scaling": {"type": "longrope", "long_factor": [1 + 0.7 * i for i in range(12)],
                              "short_factor": [1 + 0.05 * i for i in range(12)]},
             "pad_token_id": 1},
    "gpt_neox": {"architectures": ["GPTNeoXForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
                 "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 1024,
                 "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_pct": 0.25, "rotary_emb_base": 10000,
                 "use_parallel_residual": True, "tie_word_embeddings": False, "classifier_dropout": 0.1},
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_inner": None, "n_layer": 2, "n_head": 4,
             "n_positions": 512, "n_ctx": 512, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
             "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    "gemma2": {**GEMMA, "architectures": ["Gemma2ForCausalLM"], "attn_logit_softcapping": 5.0,
               "final_logit_softcapping": 8.0, "cache_implementation": "hybrid"},
    "gemma3_text": {**GEMMA, "architectures": ["Gemma3ForCausalLM"], "query_pre_attn_scalar": 20, "sliding_window_pattern": 3,
                    "rope_theta": 1000000, "rope_local_base_freq": 10000,
                    "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
}


def make_config(family, vocabulary):
    return {"model_type": family, **FAMILIES[family], "vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 1,
            "torch_dtype": "bfloat16"}


def randomise(model, args):
    generator = torch.Generator().manual_seed(args.seed)
    gain = 0.0 if "gemma" in args.family else 1.0  # Gemma's norms multiply by 1 + w
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            norm = weight.dim() == 1 and name.endswith("weight")
            weight.copy_(gain + 0.1 * noise if norm else args.std * noise)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--std", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(args.output / "tokenizer.json"))
    config = make_config(args.family, tokenizer.get_vocab_size())
    (args.output / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(args.output))
    randomise(model, args)
    # The config of save_pretrained follows the installed transformers' spelling; ours stays as written above.
    with tempfile.TemporaryDirectory() as folder:
        model.to(torch.bfloat16).save_pretrained(folder)
        with safe_open(pathlib.Path(folder) / "model.safetensors", "pt") as saved:
            tensors = {name: saved.get_tensor(name).contiguous() for name in saved.keys()}
    save_file(tensors, str(args.output / "model.safetensors"), metadata={"format": "pt"})
    (args.output / "model.safetensors").chmod(0o644)
    count = sum(math.prod(t.shape) for t in tensors.values())
    print(f"{args.output}: {len(tensors)} tensors, {count} numbers")


if __name__ == "__main__":
    main()
