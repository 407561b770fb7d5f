"""A model asked.

In: prompts.
Out: log-likelihoods, texts and hidden states, by transformers or vLLM.
Called by: the stages that evaluate, through the room evaluation, and continual, which keeps states of texts.
"""
