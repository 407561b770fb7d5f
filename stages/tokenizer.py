"""Stage `tokenizer`: train a byte-pair encoding, or convert one.

It trains on samples of documents, or converts the base model's own tokenizer file.

Which sources are sampled is a list: a new one, of which DVC notices that it lies among the documents, changes no byte of it.

Writes a standard Hugging Face tokenizer folder, without a chat template, which is an artifact of its own (`template`). It puts
<s> before a text, as models that read documents so expect from whoever loads them; the build itself writes its marks.
"""

from pathlib import Path

import polars as pl

from osler.build.stage import run
from osler.tokens.tokenizers import (
    BOS,
    TokenizerSettings,
    marked_tokenizer,
    package_file,
    sentencepiece_tokenizer,
    trained_bpe,
)


def sample(documents: Path, limit_bytes: int) -> list[str]:
    """The first texts of a source until they reach `limit_bytes`.

    At least one.
    """
    texts = pl.scan_parquet(documents / "part-*.parquet").select("text")
    size = pl.col("text").str.len_bytes()
    return texts.filter(size.cum_sum() - size < limit_bytes).collect()["text"].to_list()


def main(documents: Path, trained_model: Path, tokenizer: TokenizerSettings) -> None:
    """Write the tokenizer folder `trained_model`."""
    from tokenizers.processors import TemplateProcessing

    if tokenizer.kind == "bpe":
        texts = (
            text
            for source, collection in sorted(tokenizer.sources.items())
            for text in sample(documents / collection / source, tokenizer.sample_limit_bytes)
        )
        fast = trained_bpe(texts, tokenizer.vocabulary_size)
    else:
        assert tokenizer.package  # the settings have checked both
        assert tokenizer.file
        fast = sentencepiece_tokenizer(package_file(tokenizer.package, tokenizer.file))
    fast.post_processor = TemplateProcessing(f"{BOS} $A", f"{BOS} $A {BOS} $B:1", [(BOS, fast.token_to_id(BOS))])
    wrapped = marked_tokenizer(fast)
    wrapped.save_pretrained(trained_model)
    print(f"tokenizer: {len(wrapped)} tokens")


if __name__ == "__main__":
    run(main)
