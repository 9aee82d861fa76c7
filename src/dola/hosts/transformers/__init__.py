"""Transformers as a host: the head of any loaded causal language model, replaced and put back.

The host keeps everything it does with logits: greedy and beam search, sampling, processors, streamers,
caches, assisted generation, compilation. None of it is written here.
"""

from dola.hosts.transformers.attach import Attachment, attach, attached
from dola.hosts.transformers.custom_generate import custom_generate

__all__ = ["Attachment", "attach", "attached", "custom_generate"]
