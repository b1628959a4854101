"""Annotate reviews with what they speak of: any number of topics each, as an annotation tool exports them.

    python examples/annotated_reviews.py examples/reviews.csv annotated.jsonl
    glue-lit fit --data.task topics --data.source annotated.jsonl --data.custom.text text

A review has a topic if it has one of the topic's words, so that some have several topics and some have none.
"""

import argparse
import csv
import json
import re
from pathlib import Path

TOPICS = {
    "book": {"book", "chapter", "cover", "ending", "plot", "translation"},
    "food": {"breakfast", "cake", "coffee", "soup"},
    "hotel": {"bed", "hotel", "room", "view"},
    "price": {"cent", "money", "overpriced"},
    "product": {
        "battery",
        "bike",
        "brakes",
        "camera",
        "case",
        "chain",
        "frame",
        "phone",
        "saddle",
        "screen",
        "speaker",
    },
    "service": {"seller", "staff", "waiter"},
}


def topics(review: str) -> list[str]:
    """The topics of a review, alphabetically."""
    words = set(re.findall("[a-z]+", review.lower()))
    return [topic for topic, known in TOPICS.items() if known & words]


def main() -> None:
    """Read the reviews, and write them with their topics as JSON Lines."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("reviews", type=Path, help="table with the columns id and review")
    flags.add_argument("output", type=Path, help="file to write")
    given = flags.parse_args()
    with given.reviews.open(encoding="utf-8", newline="") as file:
        rows = [(row["id"], row["review"]) for row in csv.DictReader(file)]
    lines = [json.dumps({"id": number, "text": text, "label": topics(text)}) + "\n" for number, text in rows]
    given.output.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
