"""Results of a suite: tables in the terminal, and as Markdown, CSV and JSON."""

import csv
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_lit.engine.suite_plan import PlannedJob
from glue_lit.evaluation.glue_average import GLUE, Figure, glue_average, task_figures, task_score
from glue_lit.system.console import duration, print_table, say
from glue_lit.system.files import open_atomic, write_json, write_text
from glue_lit.tasks.glue import TaskSpec, get_task

COLUMNS = ("task", "metric", "mean ± std", "n", "time")


@dataclass(frozen=True)
class SuiteResults:
    """Summarize and write the results of a suite.

    Args:
        name: Name of the suite.
        tasks: The tasks by name.
        seeds: Seeds of each task and model.
        majority: Scores, from 0 to 1, of the tasks that get the most frequent label instead of a training.
        left_out: Tasks that do not count in the average.
    """

    name: str
    tasks: Mapping[str, TaskSpec]
    seeds: Sequence[int]
    majority: Mapping[str, float]
    left_out: Sequence[str]

    def write(self, jobs: Sequence[PlannedJob], folder: Path) -> dict[str, Any]:
        """Print the results of all models, and write them as Markdown, CSV and JSON; return the JSON's values."""
        record: dict[str, Any] = {"suite": self.name, "seeds": list(self.seeds), "models": {}}
        table: list[tuple[str, ...]] = [("model", *COLUMNS)]
        markdown = [f"# Suite {self.name}: dev scores times 100", ""]
        for model in dict.fromkeys(planned.model for planned in jobs):
            of_model = [planned for planned in jobs if planned.model == model]
            # If the configuration names the model, take it from the runs' records.
            recorded = (str(result["model"]) for planned in of_model if (result := planned.job.result) is not None)
            name = model or next(recorded, "model")
            rows, average, record["models"][name] = self._summarize(of_model)
            print_table(f"{name}, times 100", COLUMNS, rows, right=COLUMNS[2:])
            lines = (f"| {' | '.join(row)} |" for row in (COLUMNS, ("---",) * len(COLUMNS), *rows))
            markdown += [f"## {name}", "", *lines, ""]
            if average:
                say(average)
                markdown += [average, ""]
            table += [(name, *row) for row in rows]
        write_text(folder / "results.md", "\n".join(markdown))
        with open_atomic(folder / "results.csv") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
        write_json(folder / "results.json", record)
        say(f"Results     {folder / 'results.md'}, results.csv, results.json")
        say(f"Picture     glue-lit report {shlex.quote(str(folder))}")
        return record

    def _summarize(self, jobs: Sequence[PlannedJob]) -> tuple[list[tuple[str, ...]], str, dict[str, Any]]:
        """The rows of a model's table, the line on the GLUE average if any, and both as values for JSON."""
        figures, scores, seconds = self._collect_by_task(jobs)
        scores |= {task: [score] * len(self.seeds) for task, score in self.majority.items()}
        average = glue_average(scores, self.left_out)
        rows: list[tuple[str, ...]] = [
            (task, figure.name, str(figure), str(figure.count), duration(seconds[task]))
            for task, of_task in figures.items() for figure in of_task
        ]  # fmt: skip
        rows += [
            (task, f"{', '.join(get_task(task).metrics)} of the most frequent label", f"{100 * score:.2f}", "", "")
            for task, score in self.majority.items()
        ]
        record = {
            "tasks": {task: [vars(figure) for figure in of_task] for task, of_task in figures.items()},
            "majority": {task: 100 * score for task, score in self.majority.items()},
            "left_out": list(self.left_out),
            "average": None if average is None else vars(average),
            "wall_seconds": seconds,
        }
        return rows, self._describe_average(average, scores), record

    def _describe_average(self, average: Figure | None, scores: Mapping[str, Sequence[float]]) -> str:
        if set(GLUE).isdisjoint([*self.tasks, *self.majority]):
            return ""
        counted = [task for task in GLUE if task not in self.left_out]
        how = [f"without {', '.join(self.left_out)}"] if self.left_out else []
        how += [f"{', '.join(self.majority)} by the most frequent label"] if self.majority else []
        if average is not None:
            return ", ".join([f"GLUE average of {len(counted)} tasks: {average} (n {average.count})", *how])
        missing = [task for task in counted if len(scores.get(task, ())) < len(self.seeds)]
        return f"No GLUE average: {', '.join(missing)} not complete."

    def _collect_by_task(
        self, jobs: Sequence[PlannedJob]
    ) -> tuple[dict[str, list[Figure]], dict[str, list[float]], dict[str, float]]:
        """Figures for the table, scores for the average, and seconds of training, by task."""
        figures, scores, seconds = {}, {}, {}
        for task in dict.fromkeys(planned.task for planned in jobs):
            results = [r for planned in jobs if planned.task == task and (r := planned.job.result) is not None]
            if not results:
                continue
            figures[task] = task_figures(self.tasks[task], results)
            scores[task] = [task_score(self.tasks[task], result["metrics"]) or 0.0 for result in results]
            seconds[task] = sum(result.get("wall_seconds") or 0.0 for result in results)
        return figures, scores, seconds
