import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.text.reasoning import ChannelSplitter, ReasoningSplitter


def run(splitter, pieces):
    """(reasoning, text), and that no part is empty."""
    said = {"reasoning": "", "text": ""}
    for parts in (*map(splitter.feed, pieces), splitter.flush()):
        for kind, text in parts:
            assert text
            said[kind] += text
    return said["reasoning"], said["text"]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("<think>\nBecause.\n</think>\n\nBlue.", ("Because.", "Blue.")),
        ("\n<think>a b</think>c\n", ("a b", "c\n")),
        ("<think>\n\n</think>\n\nHi", ("", "Hi")),
        ("<think>cut off \n", ("cut off", "")),
        ("<think>not </thinks> yet</think>so", ("not </thinks> yet", "so")),
        ("no tags, \n as it is ", ("", "no tags, \n as it is ")),
        ("  white", ("", "  white")),
        ("  \n", ("", "  \n")),
        ("Use <think> for thoughts</think>", ("", "Use <think> for thoughts</think>")),
        ("<think>a</think>b <think>c</think>", ("a", "b <think>c</think>")),
        ("<thin", ("", "<thin")),
        ("<think>a </thi", ("a </thi", "")),
        ("", ("", "")),
    ],
)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_tags_wherever_the_text_is_cut(text, want, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert run(ReasoningSplitter(), pieces) == want
    assert run(ReasoningSplitter(), text) == want


def test_a_prompt_may_have_opened_the_tag():
    splitter = ReasoningSplitter.of("{{ '<think>' }} ... </think>", prompt="<|im_start|>assistant\n<think>\n")
    assert run(splitter, "\nso\n</think>\n\nBlue.") == ("so", "Blue.")


def test_without_tags_everything_is_text_at_once():
    splitter = ReasoningSplitter(None)
    assert splitter.feed(" <think>x") == [("text", " <think>x")]
    assert splitter.marks == ()


@pytest.mark.parametrize(
    ("template", "text", "want"),
    [
        ("... '[THINK]' ... '[/THINK]'", "[THINK]a[/THINK]b", ("a", "b")),
        ("<|START_THINKING|><|END_THINKING|>", "<|START_THINKING|>a<|END_THINKING|>b", ("a", "b")),
        ("'<|channel>thought\\n<channel|>'", "<|channel>thought\na<channel|>b", ("a", "b")),
        ("<seed:think>", "<seed:think>a</seed:think>b", ("a", "b")),
        ("no tags at all", "<think>a</think>b", ("", "<think>a</think>b")),
    ],
)
def test_the_template_tells_the_tags(template, text, want):
    assert run(ReasoningSplitter.of(template), text) == want


CHANNELS = "<|channel|>analysis<|message|>Let me think.<|end|><|start|>assistant<|channel|>final<|message|>Blue.<|return|>"


def test_channels():
    splitter = ReasoningSplitter.of("<|channel|>")
    assert isinstance(splitter, ChannelSplitter)
    assert run(splitter, [CHANNELS]) == run(ChannelSplitter(), CHANNELS) == ("Let me think.", "Blue.")


def test_channels_end_anywhere_without_losing_text():
    whole = ("Let me think.", "Blue.")
    for stop in range(len(CHANNELS)):
        if CHANNELS[:stop].count("<") > CHANNELS[:stop].count(">"):
            continue   # special tokens come whole
        reasoning, text = run(ChannelSplitter(), CHANNELS[:stop])
        assert whole[1].startswith(text)
        assert reasoning.startswith(whole[0]) or whole[0].startswith(reasoning)


def test_channels_messages_in_a_row_and_calls():
    text = "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>"
    assert run(ChannelSplitter(), [text]) == ("a\n\nb", "")
    call = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
    assert run(ChannelSplitter(), [call]) == ("", call.removesuffix("<|call|>"))


def test_channels_of_a_model_that_ignores_them():
    assert run(ChannelSplitter(), "plain text") == ("", "plain text")
