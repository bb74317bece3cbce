import pytest

from edgerun.text.template import ChatTemplate
from edgerun.text.template_fallbacks import FALLBACKS

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Why?"},
]
WANT = {   # by the model cards
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
    "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "llama4": "<s><|header_start|>system<|header_end|>\n\nBe brief.<|eot|><|header_start|>user<|header_end|>\n\nHi<|eot|>"
    "<|header_start|>assistant<|header_end|>\n\nHello.<|eot|><|header_start|>user<|header_end|>\n\nWhy?<|eot|>"
    "<|header_start|>assistant<|header_end|>\n\n",
    "llama2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Why? [/INST]",
    "mistral": "<s>[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] Why? [/INST]",
    "gemma": "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
    "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n",
    "phi3": "<|system|>\nBe brief.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\nHello.<|end|>\n<|user|>\nWhy?<|end|>\n<|assistant|>\n",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\n Hi </s>\n<|assistant|>\nHello.</s>\n<|user|>\nWhy?</s>\n<|assistant|>\n",
    "granite": "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|> Hi <|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>Hello.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Why?<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>",
    "command-r": "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Why?<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "deepseek": "<s>Be brief.\n\n<｜User｜>Hi<｜Assistant｜>Hello.</s><｜User｜>Why?<｜Assistant｜>",
    "gpt-oss": "<|start|>developer<|message|>Be brief.<|end|><|start|>user<|message|> Hi <|end|>"
    "<|start|>assistant<|channel|>final<|message|>Hello.<|end|><|start|>user<|message|>Why?<|end|><|start|>assistant",
    "vicuna": "<s>Be brief.\n\nUSER: Hi\nASSISTANT: Hello.</s>\nUSER: Why?\nASSISTANT:",
    "alpaca": "<s>Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello.</s>\n\n### Instruction:\nWhy?\n\n### Response:\n",
}


def test_every_fallback_is_here():
    assert set(WANT) == set(FALLBACKS)


@pytest.mark.parametrize("name", WANT)
def test_fallback(name):
    template = ChatTemplate.named(name, "<s>", "</s>")
    assert template.render(CHAT).text == WANT[name]
    unprompted = template.render(CHAT[:2], add_generation_prompt=False).text
    assert not unprompted.endswith(("assistant\n", "model\n", "ASSISTANT:", "<|assistant|>\n"))


@pytest.mark.parametrize("name", WANT)
def test_fallbacks_never_trust_what_is_said(name):
    chat = [{"role": message["role"], "content": f"\ue000{message['content']}\ue000"} for message in CHAT]
    result = ChatTemplate.named(name, "<s>", "</s>").render(chat)
    assert all("\ue000" not in text for text, trusted in result.pieces if trusted)
    assert sum(text.count("\ue000") for text, _ in result.pieces) == 8
