"""How sure a number is.

In: predictions.
Out: accuracies with intervals, paired tests, claims, credit.
Called by: the stage report, and the commands compare and ablate.
"""
