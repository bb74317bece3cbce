"""One block of the first transformers, with its norms on the stream itself."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.layer import Part
from edgerun.models.components.norm import Norm


@dataclass(frozen=True)
class PostNormLayer:
    """x = norm(x + attention(x)), then x = norm(x + feed_forward(x)) (arXiv:1706.03762)."""

    attention: Part
    feed_forward: Part
    norm: Norm
    attn_norm: str = "attn_output_norm"
    ffn_norm: str = "layer_output_norm"

    def emit(self, b: Builder, prefix: str, x: View) -> None:
        """Run the stream x through the layer."""
        self.attention.emit(b, prefix, x, x, residual=x)
        self.norm.emit(b, x, x, prefix + self.attn_norm)
        self.feed_forward.emit(b, prefix, x, x, residual=x)
        self.norm.emit(b, x, x, prefix + self.ffn_norm)
