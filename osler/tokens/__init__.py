"""Text to rows of tokens.

In: documents, conversations, a tokenizer's section.
Out: a tokenizer, token shards, packed rows, a mixture.
Called by: the stages tokenizer, tokenize, pack, mix and instruct.
"""
