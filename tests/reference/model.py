"""GPT-2 as transformers has it: GPT2LMHeadModel with random weights, its loss, greedy decoding without a cache, and
dropout with masks that come from outside."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from removal import EOS, IGNORED, THOUGHT, pad

SHAPES = {
    "tiny": dict(n_layer=2, n_head=3, n_embd=24, n_positions=40, vocab_size=12),
    "small": dict(n_layer=12, n_head=12, n_embd=768, n_positions=1024, vocab_size=50257),
}


def random_model(shape, seed, spread, **changes):
    """A model none of whose parameters is 0 or 1: normal numbers with the deviation `spread`, norms around 1."""
    config = GPT2Config(**SHAPES[shape] | changes, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
                        bos_token_id=EOS, eos_token_id=EOS)
    model = GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = spread * torch.randn(parameter.shape, generator=generator)
            is_norm = ".ln_" in name and name.endswith("weight")
            parameter.copy_(noise + 1 if is_norm else noise)
    return model


def add_token(model):
    """Gives the model one more token, whose embedding is the mean of the others."""
    count, mean = model.config.vocab_size, model.transformer.wte.weight.detach().mean(0)
    model.resize_token_embeddings(count + 1, mean_resizing=False)
    with torch.no_grad():
        model.transformer.wte.weight[count] = mean


def embed(model, tokens, positions, present):
    """Embeddings (B, L, C) of tokens (B, L); of each THOUGHT the last hidden state of the place before it, after the
    last norm. They are computed one after the other, by a pass over everything for each."""
    is_thought = tokens == THOUGHT
    embeddings = model.transformer.wte(tokens.masked_fill(is_thought, EOS))
    for number in range(1, int(is_thought.sum(1).max()) + 1):
        hidden = model.transformer(inputs_embeds=embeddings, position_ids=positions,
                                   attention_mask=present).last_hidden_state
        rows, places = torch.nonzero(is_thought & (is_thought.cumsum(1) == number), as_tuple=True)
        embeddings = embeddings.index_put((rows, places), hidden[rows, places - 1])
    return embeddings


def forward(model, batch):
    """Loss over the labels, and logits (T, vocab_size) of all tokens, sequence after sequence without the padding."""
    embeddings = embed(model, batch.tokens, batch.positions, batch.present)
    out = model(inputs_embeds=embeddings, attention_mask=batch.present, position_ids=batch.positions,
                labels=batch.labels)
    return out.loss, out.logits[batch.present.bool()]


def gradients(model, loss):
    """Gradients of all parameters by name."""
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def ends_with_eos(written):
    return written[-1] == EOS


@torch.no_grad()
def greedy(model, prompts, max_new_tokens, positions=None, finished=ends_with_eos, chunk=50):
    """What is written after each prompt, token by token, everything computed anew for every token.

    positions: ids of each prompt's tokens, 0, 1, … by default; those of the tokens written count on from there."""
    positions = positions or [list(range(len(prompt))) for prompt in prompts]
    texts = [{"tokens": list(tokens), "places": list(places), "written": []}
             for tokens, places in zip(prompts, positions, strict=True)]
    for start in range(0, len(texts), chunk):
        active = texts[start:start + chunk]
        for _ in range(max_new_tokens):
            for text, token in zip(active, next_tokens(model, active)):
                text["tokens"].append(token)
                text["written"].append(token)
                text["places"].append(text["places"][-1] + 1)
            active = [text for text in active if not finished(text["written"])]
            if not active:
                break
    return [text["written"] for text in texts]


def next_tokens(model, texts):
    """The most likely token after each text."""
    tokens = pad([text["tokens"] for text in texts], EOS)
    places = pad([text["places"] for text in texts], 0)
    present = pad([[1] * len(text["tokens"]) for text in texts], 0)
    embeddings = embed(model, tokens, places, present)
    hidden = model.transformer(inputs_embeds=embeddings, position_ids=places,
                               attention_mask=present).last_hidden_state
    last = hidden[torch.arange(len(texts)), present.sum(1) - 1]
    return model.lm_head(last).argmax(-1).tolist()


# ---- Dropout with given masks ----------------------------------------------------------------------------------


class GivenMask(torch.nn.Module):
    """Stands where a Dropout stood and multiplies by a mask of zeros and 1/(1-p)."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return x * self.mask


def attention_with_given_mask(module, query, key, value, attention_mask, **_):
    """Causal attention whose probabilities are multiplied by `module.given_mask` (B, heads, L, L). Padding stands on
    the right, so that no token sees it anyway."""
    scores = query @ key.transpose(-1, -2) / query.size(-1) ** 0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    probabilities = scores.masked_fill(later, float("-inf")).softmax(-1) * module.given_mask
    return (probabilities @ value).transpose(1, 2), probabilities


ALL_ATTENTION_FUNCTIONS.register("given_mask", attention_with_given_mask)


def give_masks(model, masks, batch):
    """Puts masks, packed as icot has them, in the three places of dropout.

    masks: "embedding", "h.N.residual" and "h.N.mlp" (T, C), of the last block only the rows that predict a label, since
    icot works out no others there; "h.N.attention" (heads, T, L), column j for key j of the query's own sequence."""
    lengths = batch.present.sum(1).tolist()
    longest = max(lengths)
    predicts = (batch.labels.roll(-1, 1) != IGNORED)[batch.present.bool()]

    def padded(mask):  # (T, …) -> (B, L, …)
        if len(mask) < len(predicts):
            at_targets, mask = mask, torch.ones(len(predicts), *mask.shape[1:])
            mask[predicts] = at_targets
        return torch.nn.utils.rnn.pad_sequence(mask.split(lengths), batch_first=True)

    model.config._attn_implementation = "given_mask"
    model.transformer.drop = GivenMask(padded(masks["embedding"]))
    for layer, block in enumerate(model.transformer.h):
        block.attn.resid_dropout = GivenMask(padded(masks[f"h.{layer}.residual"]))
        block.mlp.dropout = GivenMask(padded(masks[f"h.{layer}.mlp"]))
        of_heads = padded(masks[f"h.{layer}.attention"].transpose(0, 1))  # (B, L, heads, L)
        block.attn.given_mask = of_heads[..., :longest].transpose(1, 2)
