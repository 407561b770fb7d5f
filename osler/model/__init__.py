"""What a model is: its sizes, its arithmetic, its folder, its cost.

In: sections of params, a folder of weights.
Out: a model to train or to ask, and what is known of it.
Called by: all stages that train or evaluate, and the command plan.
"""
