"""A small invented corpus in the file layout of the GLUE download, for trying the program without it.

Every sentence comes from the grammars of this package, so a number measured on this corpus says
nothing about the real benchmark.
"""

from pathlib import Path

CORPUS = Path(__file__).parent / "files"
"""The generated corpus that ships with the package: what `write_corpus` writes with seed 0."""
