"""A small invented corpus in the file layout of the GLUE download, for trying the program without the download.

The grammars in `tools/demo_corpus` write every sentence, so a number measured here says nothing about GLUE.
"""

from pathlib import Path

CORPUS = Path(__file__).parent / "files"
