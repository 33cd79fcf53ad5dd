#!/usr/bin/env python3
"""Answers window questions by brute force over the raw events, with exact arithmetic.

It is the reference that the store is compared with, so it shares no code with the store: only the
standard library, Python integers and fractions. docs/testing.md describes both files.

Usage: oracle.py QUESTIONS ANSWERS     (JSON lines; "-" is standard input or output)

It owns reading and writing; windows.py decides what a window is and how far it can be trusted,
columns.py computes aggregates over the events in it.
"""

import csv
import json
import sys

from columns import Expression, EntityEvents, parse_cell
from windows import Clock, Horizon, SealHistory, Window, resolve, status_of

NULL = "\\N"


class View:
    """One view: its definition, its seals and the events of its entities."""

    def __init__(self, definition):
        self.definition = definition
        self.types = definition["columns"]
        self.expressions = {}
        self.incomplete = {}
        for feature in definition["features"]:
            name = feature["name"]
            self.expressions[name] = Expression(feature["expression"], self.types)
            self.incomplete[name] = feature.get("incomplete", [])
        self.seals = SealHistory(definition.get("seals", []))
        self.entities = read_events(definition["events"], self.types)

    def answer(self, question):
        """One answer for each selector of the question."""
        events = self.entities.get(question["entity"])
        clock = Clock(question["now"], question.get("at"), bool(question.get("known")))
        edge = question.get("edge") or self.definition.get("edge", "closed")
        coverage = self.seals.coverage(clock)
        return [
            self.answer_selector(events, clock, edge, coverage, Window(*selector[1:]), selector[0])
            for selector in question["selectors"]
        ]

    def answer_selector(self, events, clock, edge, coverage, window, feature):
        tile = self.definition["tile"]
        horizon = Horizon(clock, tile, self.definition.get("retention"))
        required = self.definition.get("seal", "off") == "required"
        bounds = resolve(window, clock, tile, edge, coverage if required else None, horizon)
        low = horizon.clip(bounds.start)
        rows = events.rows(low, bounds.end) if events else 0
        seen = bool(events) and events.rows(horizon.millis, bounds.floor + tile) > 0
        status = status_of(
            bounds, window, horizon, coverage if required else None, self.incomplete[feature],
            self.definition.get("max_lag"), seen, rows,
        )
        answer = {"status": status, "start": bounds.start, "end": bounds.end, "rows": rows}
        events = events or EntityEvents.none(self.types)
        answer.update(self.expressions[feature].evaluate(events, low, bounds.end))
        return answer


def read_events(path, types):
    """The events of one CSV file (entity, ts, then columns by name) grouped by entity."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader)
        assert header[:2] == ["entity", "ts"], f"{path}: the header begins with entity,ts"
        grouped = {}
        for row in reader:
            grouped.setdefault(row[0], []).append(row)
    positions = {name: header.index(name) for name in types if name in header}
    return {entity: entity_events(rows, positions, types) for entity, rows in grouped.items()}


def entity_events(rows, positions, types):
    cells = {name: [] for name in types}
    for row in rows:
        ts = int(row[1])
        for name, position in positions.items():
            if row[position] != NULL:
                cells[name].append((ts, parse_cell(types[name], row[position])))
    return EntityEvents([int(row[1]) for row in rows], cells, types)


def run(questions, answers):
    """Reads lines that define views or ask, and writes one line for each question."""
    views = {}
    for line in questions:
        request = json.loads(line)
        if "define" in request:
            views[request["define"]] = View(request)
            continue
        reply = {"id": request["id"], "answers": views[request["view"]].answer(request)}
        answers.write(json.dumps(reply, allow_nan=False) + "\n")


def main():
    source, target = sys.argv[1:3]
    questions = sys.stdin if source == "-" else open(source, encoding="utf-8")
    answers = sys.stdout if target == "-" else open(target, "w", encoding="utf-8")
    with questions, answers:
        run(questions, answers)


if __name__ == "__main__":
    main()
