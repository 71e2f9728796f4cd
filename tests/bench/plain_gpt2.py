"""GPT-2 in plain PyTorch, as one would write it who wants it fast on a CPU: fused attention, and an output head for
those rows only that have a target. Modules have Hugging Face's names."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):  # (B, L, C)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2)
                             for part in self.c_attn(x).chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)  # (B, heads, L, C / heads)
        return self.c_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2, self.mlp = nn.LayerNorm(width), MLP(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class PlainGPT2(nn.Module):
    def __init__(self, config):
        """config: of a GPT-2 of transformers."""
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config.n_embd, config.n_head) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)

    def forward(self, tokens, positions):
        """Hidden states (B, L, C) after the last norm. Padding stands on the right, where no token sees it."""
        x = self.wte(tokens) + self.wpe(positions)
        for block in self.h:
            x = block(x)
        return self.ln_f(x)

    def take_weights(self, model):
        """Takes the weights of a GPT2LMHeadModel, whose linear layers have theirs the other way round."""
        for (name, own), module_name in ((pair, pair[0].rpartition(".")[0]) for pair in self.named_parameters()):
            given = model.transformer.get_parameter(name).detach()
            is_linear = isinstance(self.get_submodule(module_name), nn.Linear) and own.ndim == 2
            own.data.copy_(given.t() if is_linear else given)
