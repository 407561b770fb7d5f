"""A model asked.

In: prompts.
Out: log-likelihoods, texts and hidden states, by transformers or vLLM.
Called by: the stage evaluate, through the room evaluation.
"""
