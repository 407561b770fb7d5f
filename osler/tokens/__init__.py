"""Text to rows of tokens.

In: documents, conversations, a tokenizer's section, a chat template.
Out: a tokenizer, token shards, packed rows, a mixture.
Called by: the stages tokenizer, template, tokenize, pack, mix and instruct, and the check.
"""
