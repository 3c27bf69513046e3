"""Other ways to make co-visitation matrices, to be measured against ours.

Each way is a module with `load(log)`, the events in the form that it starts from,
`compute(loaded, option)`, which is timed, and `frames(computed)`, its rows for a comparison.
"""
