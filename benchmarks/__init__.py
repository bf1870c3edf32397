"""The course's package against other people's implementations, measured side by side: `make bench`.

training, sharing, decoding, growth, ageing, gpu, quality and data are commands of their own:
`python -m benchmarks.NAME --help`. common is what they share; peers/ holds the programs they are compared with, each
run in an environment of its own.
"""
