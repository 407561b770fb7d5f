"""What people type: osler COMMAND.

In: the project as it lies.
Out: text, or the file that was asked for.
Called by: people; no stage.
"""
