"""What specs are composed of. A component is frozen data and knows which ops it stands for; it knows no family and no file.

`prefix` is what the tensor names of a layer begin with, such as "blk.3.". Buffers are described in `graph/lower.py`.
Every default is neutral: a component that is not named is not there.
"""

from edgerun.graph.ops import Xielu
from edgerun.models.components.alibi import Alibi
from edgerun.models.components.attention import Attention, Heads, QKNorm, Temperature
from edgerun.models.components.convolution import Convolution, ShortConvolution
from edgerun.models.components.delta_net import DeltaNet
from edgerun.models.components.embedding import Embedding
from edgerun.models.components.experts import Clamp, Experts, Routing
from edgerun.models.components.feed_forward import FeedForward
from edgerun.models.components.head import Classifier, Head, Hidden
from edgerun.models.components.latent_attention import LatentAttention
from edgerun.models.components.laurel import Laurel
from edgerun.models.components.layer import Both, Layer, Normed, Part
from edgerun.models.components.mamba import Mamba, Mamba2
from edgerun.models.components.norm import Norm
from edgerun.models.components.per_layer import PerLayerEmbedding, PerLayerInput
from edgerun.models.components.post_norm_layer import PostNormLayer
from edgerun.models.components.rope import LinearScaling, LongScaling, Pairing, Rope, YarnScaling

__all__ = [
    "Alibi", "Attention", "Both", "Clamp", "Classifier", "Convolution", "DeltaNet", "Embedding", "Experts", "FeedForward", "Head", "Heads", "Hidden",
    "LatentAttention", "Laurel", "Layer", "LinearScaling", "LongScaling", "Mamba", "Mamba2", "Norm", "Normed", "Pairing", "Part",
    "PerLayerEmbedding", "PerLayerInput", "PostNormLayer", "QKNorm", "Rope", "Routing", "ShortConvolution", "Temperature", "Xielu", "YarnScaling",
]  # fmt: skip
