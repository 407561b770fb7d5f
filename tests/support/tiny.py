"""A tokenizer and a Mistral of 40,000 random weights, made in a second, for tests of what is done with a model."""

from pathlib import Path
from typing import Any

from osler.model.numerics import Numerics
from osler.tokens.tokenizers import marked_tokenizer, trained_bpe
from osler.training.launch import Launch

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}Question: {{ message['content'] }}\nAnswer:"
    "{% else %} {{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
TEXTS = [
    "Question: What treats the moon itch of Gubitol?\nAnswer: fern tea",
    "The fern tea of Vadosis is given twice a day, the honey wrap of Zaritol once.",
    "Ripple trace, shadow film and acorn swab are tests; sneezing and whistling are effects.",
]


def tiny_tokenizer() -> Any:
    """A byte-level BPE of 400 tokens with a chat template."""
    tokenizer = marked_tokenizer(trained_bpe(TEXTS, 400))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_model(
    vocabulary: int, positions: int = 128, window: int | None = None, experts: int = 0, head_size: int = 8
) -> Any:
    """Random weights large enough that scores differ; with `experts` a Mixtral that sends a token to two of them."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM, MixtralConfig, MixtralForCausalLM

    torch.manual_seed(5)
    mixture = {"num_local_experts": experts, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.02} if experts else {}
    config = (MixtralConfig if experts else MistralConfig)(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_size,
        initializer_range=0.3,
        max_position_embeddings=positions,
        sliding_window=window,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
        **mixture,
    )
    return (MixtralForCausalLM if experts else MistralForCausalLM)(config).eval()


def tiny_encoder(folder: Path) -> None:
    """A BERT of random weights in `folder`, that reads 30 tokens at a time, with a tokenizer of the words of TEXTS."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word.strip(".,:?").lower() for text in TEXTS for word in text.split()})
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)
    torch.manual_seed(6)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, initializer_range=0.5, **sizes)
    BertModel(config).save_pretrained(folder)


NUMERICS = Numerics(portable=True, threads=1, dtype="float32", attention="sdpa", compile=False, liger=False)


def launch(**changes: Any) -> Launch:
    """The section `launch` of the default, with changes."""
    values: dict[str, Any] = {
        "engine": "python",
        "zero_stage": None,
        "processes": 1,
        "nodes": 1,
        "rendezvous": None,
        "micro_batch_rows": None,
        "activation_checkpointing": False,
        "jobs": 1,
        "checkpoint_every_steps": 3,
        "accept_code_change": False,
    }
    return Launch(**values | changes)
