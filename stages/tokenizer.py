"""Stage `tokenizer`: train a byte-pair encoding, or take the base model's.

It trains on samples of documents, converts the base model's tokenizer file in a package, or takes what the repository of
`download_model.base` brings at its commit, without its weights.

Which sources are sampled is a list: a new one, of which DVC notices that it lies among the documents, changes no byte of it.

Writes a standard Hugging Face tokenizer folder. The chat template is an artifact of its own (`template`); a base's is kept beside
its tokenizer. A trained one puts <s> before a text, as models that read documents so expect from whoever loads them; the build
itself writes the marks (osler/tokens/marks.py).
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from osler.build.stage import run
from osler.model.origin import BASE, DownloadModel, base_origin
from osler.tokens.base_tokenizer import write_base_tokenizer
from osler.tokens.tokenizers import (
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


def main(
    documents: Path, trained_model: Path, tokenizer: TokenizerSettings, download_model: Mapping[str, DownloadModel]
) -> None:
    """Write the tokenizer folder `trained_model`."""
    if tokenizer.kind == "base":
        base = base_origin(download_model)
        tokens = write_base_tokenizer(base.tokenizer_files(f"download_model.{BASE}"), trained_model, base.title)
        print(f"tokenizer: {tokens} tokens of {base.title}")
        return
    if tokenizer.kind == "bpe":
        texts = (
            text
            for source, collection in sorted(tokenizer.sources.items())
            for text in sample(documents / collection / source, tokenizer.sample_limit_bytes)
        )
        assert tokenizer.vocabulary_size
        fast = trained_bpe(texts, tokenizer.vocabulary_size)
    else:
        assert tokenizer.package  # the settings have checked both
        assert tokenizer.file
        fast = sentencepiece_tokenizer(package_file(tokenizer.package, tokenizer.file))
    wrapped = marked_tokenizer(fast)
    wrapped.save_pretrained(trained_model)
    print(f"tokenizer: {len(wrapped)} tokens")


if __name__ == "__main__":
    run(main)
