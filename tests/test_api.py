"""The public API on tiny random models through the reference backend, and its documented examples on the default model."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerun
from edgerun import LLM, api, machine
from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.engine.fit import RESERVE
from edgerun.engine.stats import Stats
from edgerun.errors import EdgerunError, ModelError, ResourceError, TokenizerError, UsageError

ORACLE = Path(__file__).parent / "golden" / "oracle"
QWEN = ORACLE / "qwen2" / "model.gguf"
LLAMA = ORACLE / "llama" / "model.gguf"


def tiny(path: Path = QWEN, **options: Any) -> LLM:
    return edgerun.load(path, **{"backend": "reference", "context": 256} | options)


def free(monkeypatch: pytest.MonkeyPatch, available: int) -> None:
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(RESERVE + available, "free memory of this machine"))


# ---- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "gpu"}, "backend 'gpu' is not known; use one of auto, cpu, reference"),
        ({"numerics": "slow"}, "numerics 'slow' is not known; use one of fast, exact"),
        ({"kv": "q4"}, "kv 'q4' is not known; use one of f16, f32"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"context": 0}, "a context of 0 makes no sense"),
        ({"chunk": 0}, "chunk must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_the_file_is_looked_for(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        edgerun.load("./nowhere.gguf", **options)


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    for ref in (tmp_path / "none.gguf", str(tmp_path / "none.gguf")):
        with pytest.raises(ModelError, match=r"none\.gguf"):
            edgerun.load(ref)


def test_an_unknown_architecture_names_the_file_and_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    path.write_bytes(Path(QWEN).read_bytes().replace(b"qwen2", b"qwen9"))
    with pytest.raises(ModelError, match=r"new\.gguf: architecture 'qwen9' is not supported.*'qwen2' by tensors, which takes all of them.*docs/adding\.md"):
        edgerun.load(path)


def test_the_default_context_is_the_trained_one() -> None:
    with tiny(context=None) as llm:
        assert llm.context == llm.spec.context == 512


def test_what_does_not_fit_is_refused_with_the_flag_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs(context: int) -> int:
        return edgerun.memory_plan(QWEN, context, backend="reference").total

    free(monkeypatch, needs(128))
    with pytest.raises(ResourceError, match="use -c 128, or a smaller quantization"):
        tiny(context=512)
    with tiny(context=128) as llm:
        assert llm.plan.total == needs(128)
    free(monkeypatch, needs(1) - 1)
    with pytest.raises(ResourceError, match="a smaller model"):
        tiny(context=1)


def test_a_failed_load_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = list[bool]()
    real = api.open_gguf

    def opened(path: Path) -> Any:
        file = real(path)
        monkeypatch.setattr(type(file), "close", lambda self: closed.append(True))
        return file

    monkeypatch.setattr(api, "open_gguf", opened)
    free(monkeypatch, 0)
    with pytest.raises(ResourceError):
        tiny()
    assert closed == [True]


def test_more_threads_than_can_run_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.threads()
    with tiny(threads=10_000) as llm:
        assert llm.threads.count <= max(real.count, len(machine._affinity(Path("/"))))
        assert any("10000 threads asked for" in line for line in llm.warnings)


def test_progress_and_compile_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgerun.blueprint import Blueprint

    real, seen = Blueprint.compile, list[tuple[str, int, int | None]]()

    def compile(self: Blueprint, pages: int, threads: int, progress: Any = None) -> Any:
        for done in range(3):
            progress("kernels", done, 2)
        return real(self, pages, threads, progress)

    monkeypatch.setattr(Blueprint, "compile", compile)
    with tiny(progress=lambda *call: seen.append(call)) as llm:
        assert seen == [("kernels", 0, 2), ("kernels", 1, 2), ("kernels", 2, 2)]
        list(llm.generate("a", max_tokens=1))
        assert 0 < llm.stats.compile_seconds < llm.stats.load_seconds


def test_a_name_is_resolved_with_progress_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(ref: str, *, progress: Any, note: Any) -> Path:
        assert ref == "some:name"
        progress(5, 9, "file.gguf")
        note("the first source is down; trying the second")
        return QWEN

    seen = list[Any]()
    monkeypatch.setattr("edgerun.hub.resolve", resolve)
    monkeypatch.setattr("edgerun.hub.entry_of", lambda ref: None)
    with edgerun.load("some:name", backend="reference", progress=lambda *call: seen.append(call)) as llm:
        assert llm.warnings[0] == "the first source is down; trying the second"
        assert seen == [("download", 5, 9)]


class Said(dict[str, float]):
    float = dict.get


def test_sampling_defaults_come_from_the_catalogue_then_the_file_then_us() -> None:
    ours, notes = edgerun.Sampling(), list[str]()
    said: Any = Said({"general.sampling.temp": 0.5, "general.sampling.top_k": 7.0, "general.sampling.penalty_last_n": 9, "general.sampling.min_p": 3})
    found = api._sampling(QWEN, said, notes)
    assert (found.temperature, found.top_k, found.repeat_last_n, found.top_p, found.min_p) == (0.5, 7, 9, ours.top_p, ours.min_p)
    assert len(notes) == 1
    assert "general.sampling.min_p of the model file is left out" in notes[0]
    found = api._sampling("smollm2:135m", said, notes)
    assert (found.temperature, found.top_k, found.top_p) == (0.2, 7, 0.9)


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_generate_gives_text_piece_by_piece() -> None:
    with tiny() as llm:
        stream = llm.generate("Hello world", max_tokens=8, temperature=0.0)
        assert isinstance(stream, edgerun.Stream)
        text = "".join(stream)
        assert stream.reply.text == text
        assert stream.stats is llm.stats
        assert llm.stats.generated_tokens <= 8
        assert llm.stats.bytes_per_token > 0
        ids = llm.tokenizer.encode("Hello world")
        assert "".join(llm.generate(ids, max_tokens=8, temperature=0.0)) == text
        assert llm.stats.cached_tokens == len(ids) - 1
        assert "".join(llm.generate("Hello world", max_tokens=8, temperature=0.0, echo=True)) == "Hello world" + text


def test_the_chunk_decides_nothing_and_the_seed_everything() -> None:
    answers = set()
    for chunk in (None, 1, 7):
        with tiny(chunk=chunk) as llm:
            answers.add("".join(llm.generate("Hello world, how are you?", max_tokens=16, temperature=1.0, seed=7)))
    assert len(answers) == 1
    with tiny() as llm:
        assert "".join(llm.generate("Hello world, how are you?", max_tokens=16, temperature=1.0, seed=8)) not in answers


def test_a_bos_stands_before_the_prompt_once() -> None:
    with tiny(LLAMA) as llm:
        list(llm.generate("Hi", max_tokens=1))
        assert llm.session.tokens[0] == llm.tokenizer.bos
        list(llm.generate("", max_tokens=1))
        assert llm.session.tokens == [llm.tokenizer.bos]


def test_special_tokens_in_a_prompt_are_text() -> None:
    with tiny() as llm:
        end = next(iter(llm.tokenizer.eog))
        list(llm.generate(llm.tokenizer.token_text(end), max_tokens=1))
        assert end not in llm.session.tokens


@pytest.mark.parametrize("stop", ["x", ["x"]])
def test_stop_strings(stop: Any) -> None:
    with tiny() as llm:
        text = "".join(llm.generate("Hello", max_tokens=12, temperature=0.0))
        middle = text[len(text) // 2]
        stream = llm.generate("Hello", max_tokens=12, temperature=0.0, stop=middle if isinstance(stop, str) else [middle])
        assert "".join(stream) == text[: text.index(middle)]
        assert stream.finish_reason == "stop"


def test_errors_come_before_the_first_piece() -> None:
    with tiny(context=16) as llm:
        with pytest.raises(UsageError, match="use -c"):
            llm.generate("Hello world, this is longer than it may be")
        with pytest.raises(UsageError, match="temprature"):
            llm.generate("Hello", temprature=0.0)
        with pytest.raises(UsageError):
            llm.generate("")   # this model has no token to begin with


def test_chat_answers_and_says_how() -> None:
    with tiny(LLAMA) as llm:
        messages = [{"role": "user", "content": "Hi"}]
        reply = llm.chat(messages, max_tokens=6, temperature=0.0)
        assert isinstance(reply, edgerun.Reply)
        assert reply.stats.prompt_tokens > 2
        assert reply.finish_reason in ("length", "stop")
        assert any("chat template" in line for line in llm.warnings)
        stream = llm.chat(messages, max_tokens=6, temperature=0.0, stream=True)
        pieces = list(stream)
        assert stream.reply.text == reply.text
        assert all(isinstance(piece, edgerun.Piece) for piece in pieces)
        assert llm.session.tokens[: llm.stats.prompt_tokens] == llm.tokenizer.encode(llm.render_chat(messages), parse_special=True)


def test_marks_of_reasoning_and_tool_calls_stay_in_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are control tokens in many vocabularies, whose text is left out else."""
    (tmp_path / "t.jinja").write_text("<think>{{ enable_thinking }}{{ tone }}")
    with tiny(chat_template=str(tmp_path / "t.jinja")) as llm:
        asked, made = [], llm.tokenizer.detokenizer
        monkeypatch.setattr(llm.tokenizer, "detokenizer", lambda keep: asked.append(set(keep)) or made(keep=keep))
        llm.chat([], max_tokens=1)
        assert asked[0] == {"<think>", "</think>"}
        llm.chat([], max_tokens=1, tools=[{}])
        assert {"<think>", "<tool_call>", "</tool_call>"} < asked[1]
        assert llm.render_chat([], think=False, tone="dry") == "<think>Falsedry"


def test_render_template_needs_no_model() -> None:
    source = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}{{ extra }}{% if add_generation_prompt %}>{% endif %}"
    text = edgerun.render_template(source, [{"role": "user", "content": "Hi"}], bos_token="<s>", eos_token="</s>", extra="!")
    assert text == "<s>Hi</s>!>"
    assert edgerun.render_template(source, [], add_generation_prompt=False) == ""


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma3"])
def test_logits_are_those_of_the_oracle(name: str) -> None:
    golden = np.load(ORACLE / name / "golden.npz")
    with tiny(ORACLE / name / "model.gguf") as llm:
        for i in range(int(golden["n_seq"])):
            logits = llm.logits([int(t) for t in golden[f"tokens_{i}"]])
            truth = golden[f"logits_{i}"].astype(np.float64)
            assert logits.dtype == np.float32
            assert logits.shape == (len(golden[f"tokens_{i}"]), llm.spec.n_vocab)
            assert ((logits[golden[f"pos_{i}"]] - truth) ** 2).sum() < 1e-12 * (truth**2).sum()


def test_logits_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny() as llm:
        monkeypatch.setattr(machine, "memory", lambda: machine.Memory(100, "free memory of this machine"))
        with pytest.raises(ResourceError, match="ask for fewer"):
            llm.logits([1, 2, 3])
        with pytest.raises(UsageError, match="use -c 300"):
            llm.logits([1] * 300)


def test_memory_plan_is_what_loading_takes() -> None:
    with tiny(context=200) as llm:
        assert edgerun.memory_plan(QWEN, 200, backend="reference") == llm.plan
    plans = [edgerun.memory_plan(QWEN, n) for n in (64, 128, 512)]
    assert plans[0].weights == plans[2].weights > 0
    assert 8 * plans[0].kv == 4 * plans[1].kv == plans[2].kv
    assert edgerun.memory_plan(QWEN) == plans[2]   # its trained context
    assert edgerun.memory_plan(QWEN, 64, kv="f32").kv == 2 * plans[0].kv


def test_describe_is_json() -> None:
    with tiny() as llm:
        facts = json.loads(json.dumps(llm.describe()))
        assert (facts["architecture"], facts["context"], facts["memory"]["total"]) == ("qwen2", 256, llm.plan.total)


def test_bandwidth_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured_now = iter([Ceilings(2, "portable", 20e9, 1e9)])
    monkeypatch.setattr("edgerun.backends.cpu.ceilings.ceilings", lambda threads: next(measured_now))
    with tiny() as llm:
        list(llm.generate("Hello", max_tokens=3, temperature=0.0))
        measured = llm.measure_bandwidth()
        assert llm.stats.read_bandwidth == measured == llm.measure_bandwidth()
        list(llm.generate("Hello", max_tokens=3, temperature=0.0))
        assert llm.stats.bandwidth_share is not None


# ---- life ------------------------------------------------------------------------------------------------------------


def test_a_closed_model_says_so() -> None:
    llm = tiny()
    llm.close()
    llm.close()
    for use in (lambda: llm.generate("Hello"), lambda: llm.logits([1]), lambda: llm.chat([{"role": "user", "content": "Hi"}])):
        with pytest.raises(UsageError, match="closed"):
            use()


def test_a_vocabulary_of_another_size_than_the_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny() as llm:
        monkeypatch.setattr("edgerun.text.tokenizer.tokenizer_from", lambda metadata, strict: type("T", (), {"n_vocab": 5, "warning": None})())
        with pytest.raises(TokenizerError, match="5 tokens, the weights are for 288"):
            llm.generate("Hello")


def test_load_tokenizer() -> None:
    tokenizer = edgerun.load_tokenizer(str(QWEN))
    assert tokenizer.decode(tokenizer.encode("Hello world")) == "Hello world"


def test_stats_are_public() -> None:
    with tiny() as llm:
        assert isinstance(llm.stats, Stats)
        assert issubclass(edgerun.UsageError, EdgerunError)


# ---- the default model -------------------------------------------------------------------------------------------------


def examples() -> list[doctest.DocTest]:
    found = [test for module in (edgerun, api) for test in doctest.DocTestFinder(exclude_empty=True).find(module)]
    return [test for test in found if test.examples]


@pytest.mark.model
@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_documented_examples(example: doctest.DocTest, smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerun.hub.resolve", lambda ref, **options: smollm2)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.append)
    assert result.failed == 0, "".join(report)
    assert result.attempted


@pytest.mark.model
def test_the_default_model_does_not_care_for_chunks_and_threads(smollm2: Path) -> None:
    prompt = "Once upon a time there was a fox who lived at the edge of a wood. " * 8
    answers = set()
    for chunk, threads in ((None, 2), (1, 1), (7, 2), (64, 1), (512, 2)):
        with edgerun.load(smollm2, context=512, chunk=chunk, threads=threads) as llm:
            answers.add("".join(llm.generate(prompt, max_tokens=24, temperature=0.0)))
    assert len(answers) == 1
