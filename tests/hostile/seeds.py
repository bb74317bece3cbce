"""Small good files: what the fuzzer starts from. Complete enough for a spec, a program and a tokenizer to be made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgerun.gguf import GGUFWriter
from edgerun.gguf.types import TENSOR_TYPES

_EMBD, _FF, _HEADS, _KV_HEADS = 32, 64, 4, 2


def tiny_llama(path: Path, tokenizer: str = "llama", type_id: int = 0, layers: int = 2) -> None:
    """A llama of two layers, 32 wide, of random weights. tokenizer: `llama` (SentencePiece) or `gpt2` (byte-level BPE)."""
    random = np.random.default_rng(0)
    with GGUFWriter(path) as writer:
        writer.add("general.architecture", "llama")
        writer.add("general.name", "tiny")
        for key, value in {
            "block_count": layers, "context_length": 128, "embedding_length": _EMBD, "feed_forward_length": _FF,
            "attention.head_count": _HEADS, "attention.head_count_kv": _KV_HEADS, "rope.dimension_count": _EMBD // _HEADS,
            "rope.freq_base": 10000.0, "attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": 288,
        }.items():  # fmt: skip
            writer.add(f"llama.{key}", value)
        (_sentencepiece if tokenizer == "llama" else _bpe)(writer)
        writer.add("tokenizer.chat_template", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")

        def add(name: str, rows: int, cols: int, kind: int = type_id) -> None:
            nbytes = rows * TENSOR_TYPES[kind].row_bytes(cols)
            weights = random.standard_normal((rows, cols), np.float32) if kind == 0 else random.integers(0, 64, nbytes, np.uint8)
            writer.add_tensor(name, weights.tobytes(), kind, (rows, cols) if rows > 1 else (cols,))

        add("token_embd.weight", 288, _EMBD)
        for i in range(layers):
            for name, rows, cols in (
                ("attn_q", _EMBD, _EMBD), ("attn_k", _EMBD // 2, _EMBD), ("attn_v", _EMBD // 2, _EMBD), ("attn_output", _EMBD, _EMBD),
                ("ffn_gate", _FF, _EMBD), ("ffn_up", _FF, _EMBD), ("ffn_down", _EMBD, _FF),
            ):  # fmt: skip
                add(f"blk.{i}.{name}.weight", rows, cols)
            add(f"blk.{i}.attn_norm.weight", 1, _EMBD, 0)
            add(f"blk.{i}.ffn_norm.weight", 1, _EMBD, 0)
        add("output_norm.weight", 1, _EMBD, 0)


def _sentencepiece(writer: GGUFWriter) -> None:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *"\u2581abcdefghijklmnopqrstuvwxyz", "ab", "\u2581a"]
    writer.add("tokenizer.ggml.model", "llama")
    writer.add("tokenizer.ggml.pre", "default")
    writer.add("tokenizer.ggml.tokens", tokens)
    writer.add("tokenizer.ggml.scores", [0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)])
    writer.add("tokenizer.ggml.token_type", [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259), "i32")
    _specials(writer, bos=1, eos=2)


def _bpe(writer: GGUFWriter) -> None:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [chr(0x100 + i) for i in range(256 - len(plain))]
    letters = [*map(chr, plain), *other]
    merges = [f"{a} {b}" for a, b in zip("abcdefghijklmnopqrstuvwxyz", "bcdefghijklmnopqrstuvwxyza", strict=True)]
    tokens = [*letters, *(m.replace(" ", "") for m in merges), "<|endoftext|>", "<|im_start|>", "<|im_end|>", "ab\u0120", "x1", "x2"]
    writer.add("tokenizer.ggml.model", "gpt2")
    writer.add("tokenizer.ggml.pre", "gpt-2")
    writer.add("tokenizer.ggml.tokens", tokens)
    writer.add("tokenizer.ggml.merges", merges)
    writer.add("tokenizer.ggml.token_type", [1] * (256 + len(merges)) + [3] * 3 + [1] * 3, "i32")
    _specials(writer, bos=282, eos=284)


def _specials(writer: GGUFWriter, bos: int, eos: int) -> None:
    writer.add("tokenizer.ggml.bos_token_id", bos)
    writer.add("tokenizer.ggml.eos_token_id", eos)
    writer.add("tokenizer.ggml.unknown_token_id", 0)
    writer.add("tokenizer.ggml.add_bos_token", True)


def every_type(path: Path, alignment: int = 32) -> None:
    """A file with a value of every type, arrays of all of them, arrays of arrays, and a tensor of every type of llama.cpp."""
    with GGUFWriter(path, alignment) as writer:
        whole = {"u8": 200, "i8": -7, "u16": 60000, "i16": -30000, "u32": 4_000_000_000, "i32": -2_000_000_000, "u64": 1 << 63, "i64": -(1 << 63)}
        values = {**whole, "f32": 0.5, "f64": 1e300, "bool": True, "str": "gr\u00fc\u00df \U0001f600"}
        for kind, value in values.items():
            writer.add(f"scalar.{kind}", value, kind)
            writer.add(f"array.{kind}", [value] * 3, kind)
            writer.add(f"empty.{kind}", [], kind)
        writer.add("nested.u8", [[1, 2], [3], []], "u8")
        writer.add("nested.str", [["a", ""], ["b"]])
        for type_id, kind in TENSOR_TYPES.items():
            data = bytes(i % 251 for i in range(6 * kind.nbytes))
            writer.add_tensor(f"t.{kind.name}", data, type_id, (3, 2 * kind.block))
        writer.add_tensor("shape.1", bytes(4), 0, (1,))
        writer.add_tensor("shape.4", bytes(4 * 120), 0, (2, 3, 4, 5))
