"""Loads the oracle: a Hugging Face LlamaForCausalLM in PyTorch on CPU, from a folder or with a GGUF's weights."""
import pathlib

import torch
from transformers import AutoModelForCausalLM

GGUF_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
GGUF_LAYER_NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}


def load_model(folder, dtype=torch.float32, attention="eager", gguf=None):
    """The folder's model; with `gguf`, its weights are replaced by those of that file, dequantised."""
    # Loading with the dtype, not model.to(dtype): the latter would round RoPE's inverse frequencies too.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    if gguf:
        load_gguf_weights(model, gguf)
    return model.eval()


def load_gguf_weights(model, path):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    parameters = dict(model.named_parameters())
    left = set(parameters)
    for tensor in GGUFReader(path).tensors:
        if tensor.name == "rope_freqs.weight":  # follows from config.json
            continue
        name = hf_name(tensor.name)
        weight = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if ".attn_q." in tensor.name:
            weight = unpermute(weight, model.config.num_attention_heads)
        if ".attn_k." in tensor.name:
            weight = unpermute(weight, model.config.num_key_value_heads)
        with torch.no_grad():
            parameters[name].copy_(weight.reshape(parameters[name].shape))
        left.discard(name)
    if left:
        raise SystemExit(f"{path}: no tensor for {sorted(left)}")


def hf_name(name):
    if name in GGUF_NAMES:
        return GGUF_NAMES[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{GGUF_LAYER_NAMES[part]}.weight"


def unpermute(weight, heads):
    """GGUF keeps the two halves of each rotated head interleaved; Hugging Face keeps them one after the other."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def documents(path):
    """A text file as bytes, split into its documents at NUL bytes; empty ones are left out."""
    return [part for part in pathlib.Path(path).read_bytes().split(b"\0") if part.strip()]
