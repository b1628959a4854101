"""Make long documents of short reviews: guest books, with the word of most of their guests.

    python examples/guest_books.py examples/reviews.csv guest-books.jsonl
    glue-lit fit --data.task books --data.source guest-books.jsonl --data.custom.text text \
        --data.custom.label verdict --data.windows.length 128 --data.windows.stride 32

A book has 3 to 60 entries, about three quarters of them of one opinion. The same reviews give the same books.
"""

import argparse
import csv
import json
import random
from pathlib import Path

BOOKS = 120
ENTRIES = (3, 60)
AGREE = 0.75


def books(reviews: dict[str, list[str]], count: int) -> list[dict[str, str]]:
    """Guest books: ``id``, ``text`` and ``verdict``."""
    draw = random.Random(7)
    found = []
    for number in range(1, count + 1):
        verdict, other = ("positive", "negative") if number % 2 else ("negative", "positive")
        length = draw.randint(*ENTRIES)
        agreeing = max(length // 2 + 1, round(AGREE * length))
        entries = draw.choices(reviews[verdict], k=agreeing) + draw.choices(reviews[other], k=length - agreeing)
        draw.shuffle(entries)
        found.append({"id": f"book {number}", "text": "\n".join(entries), "verdict": verdict})
    return found


def main() -> None:
    """Read the reviews, and write the books as JSON Lines."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("reviews", type=Path, help="table with the columns review and sentiment")
    flags.add_argument("output", type=Path, help="file to write")
    given = flags.parse_args()
    reviews: dict[str, list[str]] = {"positive": [], "negative": []}
    with given.reviews.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            reviews[row["sentiment"]].append(row["review"])
    lines = [json.dumps(book) + "\n" for book in books(reviews, BOOKS)]
    given.output.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
