"""A run: batches, loss, engine, checkpoints, a trained model.

In: packed rows, a model, a recipe.
Out: a trained model with its log; resumed from a checkpoint bit for bit.
Called by: the stages pretrain, cpt, trunk, anneal, sft, neftune, adapter, task_rows and continual.
"""
