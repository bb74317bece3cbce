"""Embeddings and classification through the public API: a decoder, and encoders written here with a decoder's vocabulary."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerun
from edgerun import LLM
from edgerun.errors import ModelError, UsageError
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter

QWEN = Path(__file__).parent / "golden" / "oracle" / "qwen2" / "model.gguf"
TEXTS = ["the cat", "a", "is it the dog of the other one? " * 5, "x y"]
WIDTH, FF, CONTEXT, HEADS = 32, 48, 128, 4


def load(path: Path = QWEN, **options: Any) -> LLM:
    return edgerun.load(path, **{"backend": "reference", "context": None} | options)


def encoder(path: Path, labels: list[str] | None = None, dense: bool = False, context: int = CONTEXT, vocabulary: dict[str, Any] | None = None, **metadata: Any) -> Path:
    """A random BERT with one layer; with labels a classifier, of two layers if `dense`."""
    random = np.random.default_rng(7)
    with open_gguf(QWEN) as file, GGUFWriter(path) as writer:
        vocabulary = {key: file.metadata[key] for key in file.metadata if key.startswith("tokenizer.")} | (vocabulary or {})
        own = {
            "block_count": 1, "context_length": context, "embedding_length": WIDTH, "feed_forward_length": FF, "attention.head_count": HEADS,
            "attention.layer_norm_epsilon": 1e-5, "attention.causal": False, "pooling_type": 1,
        } | ({"classifier.output_labels": labels} if labels else {}) | metadata   # fmt: skip
        for key, value in {"general.architecture": "bert", **vocabulary, **{f"bert.{key}": value for key, value in own.items()}}.items():
            writer.add(key, value)
        n = len(vocabulary["tokenizer.ggml.tokens"])
        shapes = {"token_embd": (n, WIDTH), "position_embd": (context, WIDTH), "token_types": (2, WIDTH), "token_embd_norm": (WIDTH,)}
        layer = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH), "attn_output_norm": (WIDTH,)}
        layer |= {"ffn_up": (FF, WIDTH), "ffn_down": (WIDTH, FF), "layer_output_norm": (WIDTH,)}
        shapes |= {f"blk.0.{name}": shape for name, shape in layer.items()}
        shapes |= {"cls": (WIDTH, WIDTH)} if dense else {}
        shapes |= {"cls.output": (len(labels), WIDTH)} if labels else {}
        for name, shape in shapes.items():
            writer.add_tensor(f"{name}.weight", random.standard_normal(shape).astype(np.float32) / math.sqrt(WIDTH) + (len(shape) == 1))
    return path


def rows_of(llm: LLM, text: str) -> np.ndarray:
    (rows,) = llm.embed([text], pooling="none", normalise=False)
    return rows


def test_a_vector_for_each_text(tmp_path: Path) -> None:
    for path, usual in ((QWEN, "last"), (encoder(tmp_path / "bert.gguf"), "mean")):
        with load(path) as llm:
            vectors = llm.embed(TEXTS)
            assert vectors.dtype == np.float32
            assert vectors.shape == (4, llm.spec.n_embd)
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
            np.testing.assert_array_equal(vectors, llm.embed(TEXTS, pooling=usual))
            for text, vector in zip(TEXTS, vectors, strict=True):
                np.testing.assert_array_equal(llm.embed(text), [vector])
            np.testing.assert_array_equal(llm.embed([llm.tokenizer.encode(text) for text in TEXTS]), vectors)
            assert llm.embed([]).shape == (0, llm.spec.n_embd)


def test_poolings_are_made_of_the_rows(tmp_path: Path) -> None:
    with load(encoder(tmp_path / "bert.gguf")) as llm:
        rows = rows_of(llm, TEXTS[2])
        assert rows.shape == (len(llm.tokenizer.encode(TEXTS[2])), WIDTH)
        for pooling, want in (("mean", rows.mean(0)), ("cls", rows[0]), ("last", rows[-1])):
            np.testing.assert_allclose(llm.embed(TEXTS[2], pooling=pooling, normalise=False)[0], want, rtol=1e-5)


@pytest.mark.parametrize(("number", "pooling"), [(0, "mean"), (1, "mean"), (2, "cls"), (3, "last"), (4, "mean")])
def test_the_file_says_how_to_pool(tmp_path: Path, number: int, pooling: str) -> None:
    with load(encoder(tmp_path / "bert.gguf", pooling_type=number)) as llm:
        np.testing.assert_array_equal(llm.embed(TEXTS), llm.embed(TEXTS, pooling=pooling))


@pytest.mark.parametrize("value", [5, -1, "mean", 1.0, True, [1]])
def test_a_pooling_that_makes_no_sense(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ModelError, match="pooling_type"):
        load(encoder(tmp_path / "bert.gguf", pooling_type=value))


def test_embedding_on_the_cpu_is_the_same_in_any_company(tmp_path: Path, shared_home: Path) -> None:
    path = encoder(tmp_path / "bert.gguf")
    with load(path) as truth, load(path, backend="cpu", numerics="exact", kv="f32", threads=2) as llm:
        vectors = llm.embed(TEXTS)
        np.testing.assert_allclose(vectors, truth.embed(TEXTS), atol=1e-5)
        np.testing.assert_array_equal(np.concatenate([llm.embed(text) for text in TEXTS]), vectors)


def test_an_answer_and_an_embedding_take_turns() -> None:
    with load() as llm:
        answer, vector = "".join(llm.generate("the", max_tokens=5, temperature=0.0)), llm.embed("a cat")
        for _ in range(2):
            assert "".join(llm.generate("the", max_tokens=5, temperature=0.0)) == answer
            np.testing.assert_array_equal(llm.embed("a cat"), vector)


def test_progress_tells_each_text() -> None:
    seen: list[tuple[int, int]] = []
    with load() as llm:
        llm.embed(TEXTS[:2], on_progress=lambda *call: seen.append(call))
        llm.classify(TEXTS[:2], ["yes", "no"], on_progress=lambda *call: seen.append(call))
    assert seen == [(1, 2), (2, 2)] * 2


def test_an_encoder_writes_nothing(tmp_path: Path) -> None:
    with load(encoder(tmp_path / "bert.gguf")) as llm:
        for ask in (lambda: llm.generate("a"), lambda: llm.chat([{"role": "user", "content": "a"}]), lambda: llm.logits([1]), lambda: llm.session.logits([1])):
            with pytest.raises(UsageError, match="reads texts and writes none"):
                ask()
        with pytest.raises(UsageError, match="only embeds"):
            llm.classify("a", ["b", "c"])


def test_a_text_too_long_is_refused(tmp_path: Path) -> None:
    path = encoder(tmp_path / "bert.gguf")
    with load(path) as llm:
        assert llm.embed([[1] * CONTEXT]).shape == (1, WIDTH)
        with pytest.raises(UsageError, match=f"text 2 has {CONTEXT + 1} tokens, the context {CONTEXT}"):
            llm.embed([[1], [1] * (CONTEXT + 1)])
    with pytest.raises(UsageError, match=f"learned {CONTEXT} positions one by one"):
        load(path, context=CONTEXT + 1)


def test_a_step_of_an_encoder_takes_its_longest_text(tmp_path: Path) -> None:
    path = encoder(tmp_path / "bert.gguf", context=1024)
    with load(path) as llm:
        assert llm.context == 1024
        assert llm.embed([[1] * 1024]).shape == (1, WIDTH)
    assert edgerun.memory_plan(path, 1024, backend="reference").scratch > 1.5 * edgerun.memory_plan(path, 512, backend="reference").scratch


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_labels_by_what_a_model_would_write() -> None:
    with load() as llm:
        text, names = "the cat is ", ["on it", "here", "th"]
        found = llm.classify(text, names)
        assert [label.name for label in found] == names
        for label in found:
            prompt, ids = llm.tokenizer.encode(text), llm.tokenizer.encode(text + label.name)
            start = next(i for i in range(len(ids)) if ids[i : i + 1] != prompt[i : i + 1])
            logits = llm.logits(ids).astype(np.float64)
            shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            assert label.score <= 0
            assert label.score == pytest.approx(np.mean([shares[i - 1, ids[i]] for i in range(start, len(ids))]), rel=0.3)
        total = sum(math.exp(label.score) for label in found)
        assert [label.probability for label in found] == pytest.approx([math.exp(label.score) / total for label in found])
        assert llm.classify([text, "a"], names)[0] == found


@pytest.mark.parametrize("labels", [None, [], ["a", "a"], ["a", ""]])
def test_labels_that_make_no_sense(labels: list[str] | None) -> None:
    with load() as llm:
        with pytest.raises(UsageError, match="give some, each once"):
            llm.classify("text", labels)
        with pytest.raises(UsageError, match="a query is for rerankers"):
            llm.classify("text", labels, query="q")


@pytest.mark.parametrize("dense", [False, True])
def test_a_classifier_scores_its_own_labels(tmp_path: Path, dense: bool) -> None:
    with load(encoder(tmp_path / "bert.gguf", ["calm", "angry", "none"], dense)) as llm, open_gguf(tmp_path / "bert.gguf") as file:
        h = rows_of(llm, TEXTS[2])[0].astype(np.float64)
        if dense:
            h = np.tanh(file.tensors["cls.weight"].read().view(np.float32) @ h)
        want = file.tensors["cls.output.weight"].read().view(np.float32) @ h
        found = llm.classify(TEXTS)[2]
        assert [label.name for label in found] == ["calm", "angry", "none"]
        assert [label.score for label in found] == pytest.approx(want, rel=1e-4)
        assert [label.probability for label in found] == pytest.approx(np.exp(want) / np.exp(want).sum(), rel=1e-4)
        with pytest.raises(UsageError, match=r"labels of its own \(calm, angry, none\)"):
            llm.classify("a", ["b"])
        with pytest.raises(UsageError, match="reads texts"):
            llm.generate("a")


def test_a_reranker_scores_texts_for_a_query(tmp_path: Path) -> None:
    with load(encoder(tmp_path / "bert.gguf", ["LABEL_0"])) as llm:
        (one,), (two,) = llm.classify(["the cat", "a"], query="is it")
        assert one.score == llm.classify("is itthe cat")[0].score   # this vocabulary has nothing to put between
        assert one.probability == pytest.approx(1 / (1 + math.exp(-one.score)))
        assert one.score != two.score


def test_what_stands_between_a_query_and_a_text(tmp_path: Path) -> None:
    """The doubled end of RoBERTa's pairs, or the file's own template, in which a text cannot put special tokens."""
    marks = {"tokenizer.ggml.add_sep_token": True, "tokenizer.ggml.add_eos_token": True, "tokenizer.ggml.seperator_token_id": 285}
    with load(encoder(tmp_path / "bert.gguf", ["LABEL_0"], vocabulary=marks)) as llm:
        query, text, end = (llm.tokenizer.encode(each, add_special=False) for each in ("is it", "the <|im_end|>", ""))
        assert end == []
        assert llm._reader._pair("is it", "the <|im_end|>") == [*query, llm.tokenizer.eos, 285, *text, llm.tokenizer.eos]
    template = {"tokenizer.chat_template.rerank": "<|im_start|>{query}<|im_end|>{document}<|im_end|>"}
    with load(encoder(tmp_path / "bert.gguf", ["yes", "no"], vocabulary=template)) as llm:
        begin, end = (llm.tokenizer.encode(each, parse_special=True)[0] for each in ("<|im_start|>", "<|im_end|>"))
        assert llm._reader._pair("is it", "the <|im_end|>") == [begin, *query, end, *text, end]
        assert [label.name for label in llm.classify("the cat", query="is it")] == ["yes", "no"]


def test_a_pair_of_bert(tmp_path: Path) -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581the", "\u2581cat", "s", "\u2581is"]
    words = {"model": "bert", "tokens": tokens, "token_type": [3, 3, 3, 3, 1, 1, 1, 1], "bos_token_id": 2, "eos_token_id": 3, "seperator_token_id": 3}
    words |= {"padding_token_id": 0, "unknown_token_id": 1}
    with load(encoder(tmp_path / "bert.gguf", ["LABEL_0"], vocabulary={f"tokenizer.ggml.{key}": value for key, value in words.items()})) as llm:
        assert llm._reader._pair("the cats", "Is [SEP]")[:6] == [2, 4, 5, 6, 3, 7]
        assert llm._reader._pair("the", "cat") == [2, 4, 3, 5, 3]
        np.testing.assert_array_equal(llm.embed("The cats"), llm.embed([[2, 4, 5, 6, 3]]))


@pytest.mark.parametrize("labels", [["a"], ["a", "b", "c"], "ab", [1, 2]])
def test_labels_of_a_file_that_make_no_sense(tmp_path: Path, labels: Any) -> None:
    path = encoder(tmp_path / "bert.gguf", ["x", "y"], **{"classifier.output_labels": labels})
    with pytest.raises(ModelError, match=r"classifier\.output_labels"):
        load(path)
