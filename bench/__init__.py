"""Measurements of the command, the path and its parts: `python -m bench` writes docs/reference/performance.md.

    python -m bench            everything, at most four minutes, and the page
    python -m bench NAME …     only those topics, printed

One file a topic; each has `measure(lab) -> Topic`. What is compared is measured side by side in turns, so that a busy
machine slows all of it alike: read the ratios and the CPU times first, wall times last.
"""
