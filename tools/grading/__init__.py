"""The grader's parts: what to grade (submissions, cells), where it runs (worker, pool), what is said (report)."""
