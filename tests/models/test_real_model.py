"""The default model: its spec, and that lowering it costs next to nothing."""

import time
from pathlib import Path

import pytest

from edgerun.gguf import open_gguf
from edgerun.graph.lower import lower
from edgerun.models import spec_from


@pytest.mark.model
def test_the_default_model_lowers_at_once(smollm2: Path) -> None:
    with open_gguf(smollm2) as gguf:
        shapes = {name: tensor.shape for name, tensor in gguf.tensors.items()}
        start = time.process_time()
        spec = spec_from(gguf.metadata, shapes, lambda name: pytest.fail(name))
        program = lower(spec, shapes)
        assert time.process_time() - start < 0.1
        assert (spec.n_layer, spec.n_embd, spec.n_vocab, spec.context) == (30, 576, 49152, 8192)
        assert program.tensors == gguf.tensors.keys()
        assert program.buffers == {"x": 576, "h": 576, "qkv": 960, "att": 576, "gu": 3072, "act": 1536, "logits": 49152}
