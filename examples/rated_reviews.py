"""Rate reviews with one to five stars, as a shop exports them.

    python examples/rated_reviews.py examples/reviews.csv rated.csv
    glue-lit fit --data.task stars --data.source rated.csv --data.custom '{text: review, label: stars, kind: ordinal}'

A review is rated by its sentiment and by how strong its words are.
"""

import argparse
import csv
from pathlib import Path

STRONG = {"negative": ("never again", "money back", "save yourself"), "positive": ("five stars", "would come", "happy")}
WEAK = ("better than expected", "left early", "solid")


def stars(review: str, sentiment: str) -> int:
    """The rating of a review, 1 to 5."""
    words = review.lower()
    if any(phrase in words for phrase in STRONG[sentiment]):
        return 5 if sentiment == "positive" else 1
    if any(phrase in words for phrase in WEAK):
        return 3
    return 4 if sentiment == "positive" else 2


def main() -> None:
    """Read the reviews, and write them with their ratings."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("reviews", type=Path, help="table with the columns id, review and sentiment")
    flags.add_argument("output", type=Path, help="file to write")
    given = flags.parse_args()
    with given.reviews.open(encoding="utf-8", newline="") as file:
        rows = [(row["id"], row["review"], stars(row["review"], row["sentiment"])) for row in csv.DictReader(file)]
    with given.output.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "review", "stars"), *rows])


if __name__ == "__main__":
    main()
