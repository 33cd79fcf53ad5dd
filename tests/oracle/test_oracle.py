#!/usr/bin/env python3
"""Checks the oracle against a second answer, worked out tile by tile with plain fractions.

The oracle bisects sorted times and subtracts running totals; here a window is a set of tile starts,
seals are sets of tiles, and every aggregate walks the events one by one.

Usage: test_oracle.py [SEED]     (a random seed is drawn and printed without it)
"""

import csv
import io
import json
import random
import sys
import tempfile
import unittest
from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path

import oracle
from columns import Column, parse_cell
from numbers_exact import rounded, rounded_root

SEED = int(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else None
SEED = random.SystemRandom().randrange(1 << 32) if SEED is None else SEED
ROUNDS = 150
QUESTIONS_PER_ROUND = 40
TILE = 10
EARLIEST, LATEST = -60, 60  # in tiles
ENTITIES = ["a", "b", "nobody", 'quo"te,']
TYPES = {"whole": "i64", "real": "f64", "word": "str"}
NUMERIC = ["sum", "mean", "var_pop", "var_samp", "stddev_pop", "stddev_samp"]
ANY = ["count", "min", "max", "first", "last"]


def expressions():
    texts = ["count()"]
    for column in TYPES:
        texts += [f"{name}({column})" for name in ANY]
        texts += [f"{name}({column},3)" for name in ("first_n", "last_n", "top_n")]
        texts += [f"{name}({column},2)" for name in ("first_distinct_n", "last_distinct_n")]
        texts += [f"approx_count_distinct({column})"]
    for column in ("whole", "real"):
        texts += [f"{name}({column})" for name in NUMERIC]
        texts += [f"approx_percentile({column},0.9)", f"approx_percentile({column},0.5,100)"]
    return texts


EXPRESSIONS = expressions()


class RandomViews(unittest.TestCase):
    def test_oracle_agrees_with_a_walk_over_tiles(self):
        print(f"oracle seed {SEED}")
        source = random.Random(SEED)
        statuses, values = {}, 0
        for _ in range(ROUNDS):
            for status, value in self.play(source):
                statuses[status] = statuses.get(status, 0) + 1
                values += value not in (None, 0, [])
        print(f"oracle answers by status: {statuses}; {values} of them not empty")
        expected = {"expired", "incomplete", "stale", "unseen", "empty", "ok"}
        self.assertEqual(set(statuses), expected, "every status must have been met")
        self.assertGreater(values, ROUNDS * QUESTIONS_PER_ROUND // 4)

    def play(self, source):
        definition, rows = random_definition(source), random_rows(source)
        with tempfile.TemporaryDirectory() as folder:
            definition["events"] = str(Path(folder) / "events.csv")
            write_events(definition["events"], rows)
            questions = [random_question(source, i) for i in range(QUESTIONS_PER_ROUND)]
            lines = [json.dumps(definition)] + [json.dumps(question) for question in questions]
            replies = io.StringIO()
            oracle.run(lines, replies)
        for question, line in zip(questions, replies.getvalue().splitlines(), strict=True):
            reply = json.loads(line)
            self.assertEqual(reply["id"], question["id"])
            pairs = zip(question["selectors"], reply["answers"], strict=True)
            for selector, answer in pairs:
                expected = walk(definition, rows, question, selector)
                got = {key: answer.get(key) for key in expected}
                self.assertEqual(got, expected, (definition, question, selector))
                self.check_error_terms(answer)
                yield answer["status"], answer["value"]

    def check_error_terms(self, answer):
        """value + rest is the exact quotient but for the last bits of rest; |value| <= size."""
        if answer["kind"] not in ("sum", "mean") or isinstance(answer["size"], str):
            return
        exact = Fraction(answer["exact"])
        error = abs(Fraction(answer["value"]) + Fraction(answer["rest"]) - exact)
        self.assertLessEqual(error, abs(Fraction(answer["rest"])) / 2**52 + Fraction(1, 2**1074))
        self.assertLessEqual(abs(answer["value"]), answer["size"])


def random_definition(source):
    features = []
    for index, text in enumerate(EXPRESSIONS):
        feature = {"name": f"f{index}", "expression": text}
        if source.random() < 0.1:
            edge = source.randint(-10, 30) * TILE
            feature["incomplete"] = [[source.choice([None, edge - 5 * TILE]), edge]]
        features.append(feature)
    return {
        "define": "v",
        "tile": TILE,
        "retention": source.choice([None, None, 300, 455]),
        "edge": source.choice(["closed", "live"]),
        "seal": source.choice(["off", "required"]),
        "max_lag": source.choice([None, 0, 20, 50]),
        "columns": TYPES,
        "features": features,
        "seals": random_seals(source),
    }


def random_seals(source):
    operations = []
    for _ in range(source.randint(0, 5)):
        start = source.randint(EARLIEST, LATEST)
        verb = "add" if source.random() < 0.75 else "del"
        length = source.choice([1, 3, 30, 90])
        made = source.randint(EARLIEST * TILE, 2 * LATEST * TILE)
        operations.append([verb, start * TILE, (start + length) * TILE, made])
    return sorted(operations, key=lambda operation: operation[3])


def random_rows(source):
    rows = []
    for _ in range(source.randint(0, 60)):
        ts = source.randint(EARLIEST * TILE, LATEST * TILE)
        whole = source.choice([None, 0, 7, -3, 2**63 - 1, -(2**63), source.randint(-9, 9)])
        real = source.choice([None, 0.0, -0.0, 0.1, 1e300, -1e300, 5e-324, source.random()])
        word = source.choice([None, "", "x", "y", "\u00e9", "z,\"'"])
        rows.append((source.choice(ENTITIES[:2] + ENTITIES[3:]), ts, whole, real, word))
        if source.random() < 0.2:
            rows.append((rows[-1][0], ts, whole, source.random(), "twin"))
    return rows


def write_events(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["entity", "ts", "real", "word", "whole"])
        for entity, ts, whole, real, word in rows:
            cells = ["\\N" if cell is None else cell for cell in (real, word, whole)]
            writer.writerow([entity, ts, *cells])


def random_question(source, number):
    now = source.randint(0, LATEST * TILE)
    selectors = []
    for _ in range(3):
        feature = f"f{source.randrange(len(EXPRESSIONS))}"
        length = source.choice([None, 1, 2, 5, 20, 45])
        length = None if length is None else length * TILE
        selectors.append([feature, length, source.choice([0, 0, 0, 1, 4]) * TILE])
    question = {"id": number, "view": "v", "entity": source.choice(ENTITIES), "now": now}
    question["selectors"] = selectors
    if source.random() < 0.7:
        question["at"] = source.randint(EARLIEST * TILE, LATEST * TILE)
        question["known"] = source.random() < 0.5
    if source.random() < 0.5:
        question["edge"] = source.choice(["closed", "live"])
    return question


def walk(definition, rows, question, selector):
    """The answer to one selector, tile by tile."""
    feature, length, offset = selector
    now, time = question["now"], question.get("at", question["now"])
    floor = time - time % TILE
    span = range((EARLIEST - 200) * TILE, (LATEST + 200) * TILE, TILE)
    horizon = None
    if definition["retention"] is not None:
        horizon = (now - definition["retention"]) - (now - definition["retention"]) % TILE
    readable = [start for start in span if horizon is None or start >= horizon]

    known_time = min(time, now) if question.get("known") else now
    sealed = sealed_tiles(definition["seals"], known_time)
    required = definition["seal"] == "required"
    edge = floor
    if required:
        heads = [t for t in sealed if t - TILE not in sealed and t < floor]
        if heads:
            edge = max(heads)
            while edge in sealed and edge < floor:
                edge += TILE
    right = edge - offset
    window = [t for t in span if t < right and (length is None or t >= right - length)]
    closed = list(window)
    if (question.get("edge") or definition["edge"]) == "live" and edge == floor:
        if not ("at" in question and offset == 0 and now >= floor + TILE):
            window.append(right)
    end = right + TILE if right in window else right
    start = horizon if length is None else right - length
    start = min(start, end) if length is None and horizon is not None else start

    mine = [row for row in rows if row[0] == question["entity"]]
    tiles = {row[1] - row[1] % TILE for row in mine} & set(readable)
    held = [row for row in mine if row[1] - row[1] % TILE in set(window) & set(readable)]
    index = int(feature[1:])
    incomplete = definition["features"][index].get("incomplete", [])
    oldest = min(sealed) if required and sealed and length is None else None
    floors = [bound for bound in (oldest, horizon if length is None else None) if bound is not None]
    reach = [t for t in window if all(t >= bound for bound in floors)]
    closed = [t for t in closed if t in reach]
    unsealed = required and ((length is None and not sealed) or bool(set(closed) - sealed))
    if length is not None and horizon is not None and start < horizon:
        status = "expired"
    elif unsealed:
        status = "incomplete"
    elif any((low is None or t >= low) and t < high for low, high in incomplete for t in reach):
        status = "incomplete"
    elif definition["max_lag"] is not None and floor - edge > definition["max_lag"]:
        status = "stale"
    elif not any(t <= floor for t in tiles):
        status = "unseen"
    else:
        status = "ok" if tiles & set(window) else "empty"
    answer = {"status": status, "start": start, "end": end, "rows": len(held)}
    return answer | {"value": aggregate(EXPRESSIONS[index], held)}


def sealed_tiles(operations, known_time):
    sealed = set()
    for verb, start, end, made in operations:
        if made <= known_time:
            tiles = set(range(start, end, TILE))
            sealed = sealed | tiles if verb == "add" else sealed - tiles
    return sealed


def aggregate(text, held):
    name, _, inner = text.rstrip(")").partition("(")
    if text == "count()":
        return len(held)
    column, *parameters = inner.split(",")
    position = 2 + list(TYPES).index(column)
    pairs = sorted((row[1], row[position]) for row in held if row[position] is not None)
    values = [value for _, value in pairs]
    n = int(parameters[0]) if parameters and parameters[0].isdigit() else None
    if name == "count":
        return len(values)
    if name in NUMERIC:
        return moments(name, values, column)
    if name in ("first_n", "last_n"):
        return values[:n] if name == "first_n" else values[max(0, len(values) - n):]
    if name == "first_distinct_n":
        return list(dict.fromkeys(values))[:n]
    if name == "last_distinct_n":
        return list(dict.fromkeys(values[::-1]))[:n][::-1]
    if name == "approx_count_distinct":
        return len(set(values))
    if name == "top_n":
        counts = [[value, values.count(value)] for value in set(values)]
        return sorted(counts, key=lambda pair: (-pair[1], pair[0]))[:n]
    if not values:
        return None
    if name == "approx_percentile":
        rank = max(1, ceil(Fraction(parameters[0]) * len(values)))
        return sorted(values)[rank - 1]
    choices = {"min": min(values), "max": max(values), "first": values[0], "last": values[-1]}
    return choices[name]


def moments(name, values, column):
    n = len(values)
    if n == 0 or (n == 1 and name.endswith("samp")):
        return None
    fractions = [Fraction(value) for value in values]
    total = sum(fractions)
    if name == "sum":
        return int(total) if column == "whole" else words(rounded(*total.as_integer_ratio()))
    mean = total / n
    if name == "mean":
        return words(rounded(*mean.as_integer_ratio()))
    m2 = sum((value - mean) ** 2 for value in fractions)
    variance = m2 / (n if name.endswith("pop") else n - 1)
    if name.startswith("var"):
        return words(rounded(*variance.as_integer_ratio()))
    return words(rounded_root(variance))


def words(value):
    return {float("inf"): "inf", float("-inf"): "-inf"}.get(value, value)


class Columns(unittest.TestCase):
    def test_extremes_over_many_blocks_are_those_of_the_values(self):
        source = random.Random(SEED)
        rising = list(range(1_000))
        for values in (rising, rising[::-1], source.sample(rising, len(rising))):
            column = Column(list(enumerate(values)), "i64")
            for _ in range(200):
                low, high = sorted(source.sample(range(len(values) + 1), 2))
                for choose in (min, max):
                    found = column.extreme(choose, low, high)
                    self.assertEqual(found, choose(values[low:high]), (low, high))

    def test_minus_zero_is_zero(self):
        self.assertEqual(repr(parse_cell("f64", "-0.0")), "0.0")
        self.assertEqual(repr(parse_cell("f64", "-0e5")), "0.0")


class Numbers(unittest.TestCase):
    def test_roots_are_those_of_the_standard_library(self):
        for value in (0.25, 2.0, 1e-300, 5e-324, 1.7e308, 1 / 3, 123456789.0):
            self.assertEqual(rounded_root(Fraction(value)), sqrt(value))

    def test_a_tie_between_two_doubles_goes_to_the_even_one(self):
        self.assertEqual(rounded(2**53 + 1, 1), float(2**53))
        self.assertEqual(rounded(2**53 + 3, 1), float(2**53 + 4))


class WorkedExamples(unittest.TestCase):
    """Answers worked out by hand from the rules."""

    def ask(self, definition, question, rows=()):
        base = {"define": "v", "tile": 10, "columns": TYPES}
        base["features"] = [{"name": "n", "expression": "sum(whole)"}]
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "events.csv")
            write_events(path, [("a", ts, value, None, None) for ts, value in rows])
            asked = {"id": 1, "view": "v", "entity": "a"} | question
            replies = io.StringIO()
            oracle.run(map(json.dumps, (base | {"events": path} | definition, asked)), replies)
        answer = json.loads(replies.getvalue())["answers"][0]
        return answer["value"], answer["status"], answer["start"], answer["end"]

    def test_a_closed_window_holds_exactly_the_tiles_that_ended(self):
        rows = [(-21, 1), (-20, 2), (-11, 4), (-10, 8), (-1, 16)]
        question = {"now": -5, "selectors": [["n", 10, 0]]}
        self.assertEqual(self.ask({}, question, rows), (6, "ok", -20, -10))
        self.assertEqual(self.ask({"edge": "live"}, question, rows), (30, "ok", -20, 0))

    def test_a_replay_never_shows_the_tile_that_has_ended_since(self):
        rows = [(5, 1), (12, 2), (18, 4)]
        question = {"now": 19, "at": 13, "selectors": [["n", 10, 0]]}
        self.assertEqual(self.ask({"edge": "live"}, question, rows), (7, "ok", 0, 20))
        question["now"] = 20
        self.assertEqual(self.ask({"edge": "live"}, question, rows), (1, "ok", 0, 10))

    def test_a_window_stops_where_the_seals_stop(self):
        seals = {"seal": "required", "seals": [["add", 0, 30, 31], ["del", 20, 30, 50]]}
        question = {"now": 60, "selectors": [["n", 20, 0]]}
        self.assertEqual(self.ask(seals, question, [(5, 1), (25, 2)]), (1, "ok", 0, 20))
        question |= {"at": 40, "known": True}
        self.assertEqual(self.ask(seals, question, [(5, 1), (25, 2)]), (2, "ok", 10, 30))

    def test_a_seal_is_known_from_the_moment_it_was_made(self):
        seals = {"seal": "required", "seals": [["add", 0, 30, 41], ["del", 20, 30, 45]]}
        question = {"now": 60, "known": True, "selectors": [["n", 20, 0]]}
        windows = {}
        for at in (40, 41, 44, 45):
            windows[at] = self.ask(seals, question | {"at": at})[1:]
        self.assertEqual(windows[40], ("incomplete", 20, 40))
        self.assertEqual(windows[41], ("unseen", 10, 30))
        self.assertEqual(windows[44], ("unseen", 10, 30))
        self.assertEqual(windows[45], ("unseen", 0, 20))

    def test_statuses_of_an_entity_without_tiles_in_reach(self):
        question = {"now": 100, "selectors": [["n", 20, 0]]}
        self.assertEqual(self.ask({}, question), (None, "unseen", 80, 100))
        self.assertEqual(self.ask({}, question, [(5, 1)]), (None, "empty", 80, 100))
        self.assertEqual(self.ask({}, question, [(110, 1)]), (None, "unseen", 80, 100))
        self.assertEqual(self.ask({"retention": 50}, question, [(5, 1)])[1], "unseen")
        self.assertEqual(self.ask({"retention": 15}, question, [(85, 1)])[:2], (1, "ok"))
        self.assertEqual(self.ask({"retention": 5}, question, [(85, 1)])[:2], (None, "expired"))

    def test_an_open_lifetime_has_no_start(self):
        question = {"now": 100, "selectors": [["n", None, 10]]}
        self.assertEqual(self.ask({}, question, [(-500, 3)]), (3, "ok", None, 90))


if __name__ == "__main__":
    unittest.main()
