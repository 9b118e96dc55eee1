# SPDX-License-Identifier: BSD-3-Clause
"""Small transformers as PyTorch and Keras models are usually written, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.quiet import import_keras

#: Channels, heads and hidden channels of every sample; tokens, and words of a vocabulary.
WIDTH, HEADS, HIDDEN, TOKENS, WORDS = 24, 3, 40, 11, 50


def _torch_parts() -> Any:
    """Return PyTorch classes: a block and models of two."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        """Attention by PyTorch's own function, and layer norms with weights."""

        def __init__(self, approximate: str, *, fused: bool = True, after: bool = False) -> None:
            super().__init__()
            self.approximate, self.fused, self.after = approximate, fused, after
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6), nn.LayerNorm(WIDTH)
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
            self.proj = nn.Linear(WIDTH, WIDTH, bias=False)
            self.fc1, self.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

        def attend(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            batch, tokens, _ = x.shape
            qkv = self.qkv(x).reshape(batch, tokens, 3, HEADS, WIDTH // HEADS)
            query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            if self.fused:
                y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            else:
                scores = query @ key.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5
                if mask is not None:
                    scores = scores + mask
                y = scores.softmax(-1) @ value
            out: torch.Tensor = self.proj(y.transpose(1, 2).reshape(batch, tokens, WIDTH))
            return out

        def hidden(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(F.gelu(self.fc1(x), approximate=self.approximate))
            return out

        def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            if self.after:
                x = self.norm1(x + self.attend(x, mask))
                out: torch.Tensor = self.norm2(x + self.hidden(x))
                return out
            x = x + self.attend(self.norm1(x), mask)
            return x + self.hidden(self.norm2(x))

    class Image(nn.Module):
        """A ViT with a class token, as DeiT: ``[B, 3, 12, 16] -> [B, 5]``."""

        def __init__(self, approximate: str) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, WIDTH, 4, 4)
            self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
            self.positions = nn.Parameter(torch.randn(1, 13, WIDTH))
            self.blocks = nn.ModuleList([Block(approximate), Block(approximate, fused=False)])
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
            for block in self.blocks:
                x = block(x)
            logits: torch.Tensor = self.head(self.norm(x)[:, 0])
            return logits

    class Text(nn.Module):
        """A small BERT: token ids and a mask of those that count ``-> [B, 5]``."""

        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(WORDS, WIDTH)
            self.positions = nn.Embedding(2 * TOKENS, WIDTH)
            self.register_buffer("places", torch.arange(2 * TOKENS)[None])
            self.norm = nn.LayerNorm(WIDTH)
            self.blocks = nn.ModuleList(
                [Block("none", after=True), Block("tanh", fused=False, after=True)]
            )
            self.pool, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 5)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            x = self.words(ids) + self.positions(self.places[:, : ids.shape[1]])
            x = self.norm(x)
            shift = (1.0 - mask[:, None, None, :].to(torch.float32)) * -1e4
            for block in self.blocks:
                x = block(x, shift)
            logits: torch.Tensor = self.head(torch.tanh(self.pool(x[:, 0])))
            return logits

    return Image, Text


def torch_sample(name: str, path: Path, *, batch: int = 1, **how: Any) -> Path:
    """Convert ``image-erf``, ``image-tanh`` or ``text`` of PyTorch."""
    import torch

    from nmpack.convert import torch_to_tflite

    torch.manual_seed(0)
    image, text = _torch_parts()
    if name == "text":
        samples = (torch.zeros(batch, TOKENS, dtype=torch.int32), torch.ones(batch, TOKENS))
        return torch_to_tflite(text().eval(), path, samples=samples, **how)
    model = image("none" if name == "image-erf" else "tanh").eval()
    return torch_to_tflite(model, path, (12, 16, 3), batch=batch, **how)


def _keras_block(x: Any, mask: Any, gelu: Callable[[Any], Any], *, after: bool) -> Any:
    layers = import_keras().layers
    attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
    first, second = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization()
    fc1, fc2 = layers.Dense(HIDDEN), layers.Dense(WIDTH)
    if after:
        x = first(x + attention(x, x, attention_mask=mask))
        return second(x + fc2(gelu(fc1(x))))
    y = first(x)
    x = x + attention(y, y)
    return x + fc2(gelu(fc1(second(x))))


def keras_sample(name: str, path: Path, *, batch: int | None = 1, **how: Any) -> Path:
    """Convert ``image-erf``, ``image-tanh`` or ``text`` of Keras."""
    from nmpack.convert import keras_to_tflite

    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers

    class Token(keras.layers.Layer):  # type: ignore[misc]
        """A token in front of the others, and positions."""

        def build(self, shape: Any) -> None:
            self.token = self.add_weight(shape=(1, 1, WIDTH), initializer="normal")
            self.positions = self.add_weight(shape=(1, shape[1] + 1, WIDTH), initializer="normal")

        def call(self, x: Any) -> Any:
            token = keras.ops.broadcast_to(self.token, (keras.ops.shape(x)[0], 1, WIDTH))
            return keras.ops.concatenate([token, x], 1) + self.positions

    class Positions(keras.layers.Layer):  # type: ignore[misc]
        """An embedding of places."""

        def build(self, _: Any) -> None:
            self.table = layers.Embedding(2 * TOKENS, WIDTH)

        def call(self, x: Any) -> Any:
            return x + self.table(keras.ops.arange(x.shape[1]))

    exact = name != "image-tanh"

    def gelu(x: Any) -> Any:
        return keras.activations.gelu(x, approximate=not exact)

    if name == "text":
        ids = keras.Input((TOKENS,), dtype="int32", name="ids")
        mask = keras.Input((TOKENS,), name="mask")
        x = Positions()(layers.Embedding(WORDS, WIDTH)(ids))
        x = layers.LayerNormalization()(x)
        for _ in range(2):
            x = _keras_block(x, mask[:, None, :] > 0.5, gelu, after=True)
        x = layers.Dense(5)(layers.Dense(WIDTH, "tanh")(x[:, 0]))
        return keras_to_tflite(keras.Model([ids, mask], x), path, batch=batch, **how)
    image = keras.Input((12, 16, 3), name="image")
    x = layers.Conv2D(WIDTH, 4, 4)(image)
    x = Token()(layers.Reshape((-1, WIDTH))(x))
    for _ in range(2):
        x = _keras_block(x, None, gelu, after=False)
    x = layers.Dense(5)(layers.LayerNormalization()(x)[:, 0])
    return keras_to_tflite(keras.Model(image, x), path, batch=batch, **how)


def sample_inputs(name: str, seed: int, batch: int = 1) -> list[np.ndarray]:
    """Draw inputs of a sample, in the file's order."""
    rng = np.random.default_rng(seed)
    if name != "text":
        return [rng.normal(size=(batch, 12, 16, 3)).astype(np.float32)]
    ids = rng.integers(0, WORDS, (batch, TOKENS)).astype(np.int32)
    mask = (np.arange(TOKENS) < rng.integers(1, TOKENS + 1, (batch, 1))).astype(np.float32)
    return [ids, mask]
