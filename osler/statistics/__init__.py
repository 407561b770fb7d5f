"""How sure a number is.

In: predictions.
Out: accuracies with intervals, paired tests, claims, credit.
Called by: the stages report and evaluate_continual, and the commands compare and ablate.
"""
