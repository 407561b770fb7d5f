"""What processes that are forked for evaluations have imported already.

Torch, transformers, and what uses them are imported once for all of them.
"""

from osler.inference import document_bits, language_model, text_encoder, vllm_backend
from osler.model.folder import import_ahead

PRELOADED = (document_bits, text_encoder, language_model, vllm_backend)
import_ahead()
