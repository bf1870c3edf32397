"""The grader's parts: what to grade (submissions, cells), where it runs (worker, pool), what is said (report).

Why not nbgrader or otter-grader: both run a notebook from its first cell to its last, which here means training
models; nbgrader finds exercises by metadata of its own and grades one notebook at a time, and otter-grader grades many
at once in Docker alone. Neither knows a mistake by its name.
"""
