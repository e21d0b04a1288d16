"""BERT-family encoders for training: parameters named as in a Hugging Face folder, attention by spec."""
import torch
import torch.nn.functional as F
from torch import nn

from .attention import LayerInputs, attend
from .layers import Linear, MetricCache, heads
from .metric import Weights


class Bert(nn.Module):
    """With a classifier: tanh(pooler(first token)), as BertForSequenceClassification."""

    causal = False

    def __init__(self, config, classes):
        super().__init__()
        if config.get("hidden_act", "gelu") != "gelu":
            raise ValueError(f"config.json: hidden_act '{config['hidden_act']}', must be gelu")
        self.config = config
        self.bert = Encoder(config)
        self.classifier = Linear(config["hidden_size"], classes, bias=True)
        nn.init.normal_(self.classifier.weight, std=0.02)

    def forward(self, ids, spec=None):
        """ids [B, L], texts of one length -> [B, L, C]."""
        return self.bert(ids, spec)

    def scores(self, hidden):
        return self.classifier(torch.tanh(self.bert.pooler.dense(hidden[:, 0])))

    def adaptable(self):
        return {name: m for name, m in self.bert.encoder.named_modules(prefix="bert.encoder") if isinstance(m, Linear)}


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.pooler = nn.Module()
        self.pooler.dense = Linear(config["hidden_size"], config["hidden_size"], bias=True)

    def forward(self, ids, spec):
        x = self.embeddings(ids)
        for layer in self.encoder.layer:
            x = layer(x, spec)
        return x


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config.get("type_vocab_size", 2), width)
        self.LayerNorm = _norm(config)

    def forward(self, ids):
        places = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0])


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = Attention(config)
        self.intermediate = nn.Module()
        self.intermediate.dense = Linear(width, inner, bias=True)
        self.output = _output(inner, config)

    def forward(self, x, spec):
        x = self.attention(x, spec)
        return self.output.LayerNorm(x + self.output.dense(F.gelu(self.intermediate.dense(x))))


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.dim = width // config["num_attention_heads"]
        self.self = nn.Module()
        for name in ("query", "key", "value"):
            setattr(self.self, name, Linear(width, width, bias=True))
        self.output = _output(width, config)
        self.metric = MetricCache(self._weights)

    def forward(self, x, spec):
        def rebuilt(k, v, first):  # positions are in x already
            return heads(k, self.dim), heads(v, self.dim)

        q, k, v = self.self.query(x), self.self.key(x), self.self.value(x)
        layer = LayerInputs(
            x, heads(q, self.dim), *rebuilt(k, v, 0), plain=(k, v), rebuilt=rebuilt,
            metric=lambda kind: self.metric.get(kind, self.training), linear=(self.self.query, self.self.key,
            self.self.value), causal=False, training=self.training, lost=None,
        )  # fmt: skip
        out = attend(spec, layer).transpose(1, 2).flatten(2)
        return self.output.LayerNorm(x + self.output.dense(out))

    def _weights(self):
        merged = [part.merged() for part in (self.self.query, self.self.key, self.output.dense)]
        return Weights(*merged, dim=self.dim, rotary=False)


def _output(inputs, config):
    part = nn.Module()
    part.dense, part.LayerNorm = Linear(inputs, config["hidden_size"], bias=True), _norm(config)
    return part


def _norm(config):
    return nn.LayerNorm(config["hidden_size"], eps=config.get("layer_norm_eps", 1e-12))
