"""What a model is asked, and what it answers.

In: benchmark items, tasks, strategies, protocols.
Out: predictions, one row an answer.
Called by: the stages benchmarks, tasks, exercises, task_rows, questions, evaluate, evaluate_adapter and evaluate_continual.
"""
