"""The events of one entity, and aggregates over those in a range of time. Knows no windows.

Sums are running totals of exact integers, so that an aggregate over a range is a difference of two;
minima and maxima are kept per block of values; the rest reads the range itself.
"""

import re
from bisect import bisect_left
from collections import Counter
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor

from numbers_exact import json_double, rest, rounded, rounded_root, scale_bits, scaled

BLOCK_LEN = 128
PERCENTILE_ERROR = Fraction(2, 100)
EXPRESSION = re.compile(r"([a-z_]+)\(([^)]*)\)")


def parse_cell(kind, text):
    """One input value: i64, f64 (minus zero stored as zero) or str."""
    if kind == "i64":
        return int(text)
    return float(text) + 0.0 if kind == "f64" else text


class EntityEvents:
    """The rows of one entity: their times, and per column the non-null values with theirs."""

    def __init__(self, times, cells, types):
        self.times = sorted(times)
        self.columns = {name: Column(entries, types[name]) for name, entries in cells.items()}

    @staticmethod
    def none(types):
        """An entity nobody wrote."""
        return EntityEvents([], {name: [] for name in types}, types)

    def rows(self, start, end):
        """How many rows have start <= ts < end; start None stands for minus infinity."""
        low, high = between(self.times, start, end)
        return high - low


class Column:
    """Non-null values in order of (ts, value), with totals made when first asked for."""

    def __init__(self, entries, kind):
        self.entries = sorted(entries)
        self.kind = kind
        self.times = [ts for ts, _ in self.entries]
        self.values = [value for _, value in self.entries]
        self.totals_made = None
        self.blocks_made = {}

    def between(self, start, end):
        """The range of positions whose values have start <= ts < end."""
        return between(self.times, start, end)

    def totals(self):
        """Running totals of x, x^2 and |x| times 2^bits (2^(2 bits) for the squares), and bits."""
        if self.totals_made is None:
            bits = scale_bits(self.values)
            integers = [scaled(value, bits) for value in self.values]
            sums = list(accumulate(integers, initial=0))
            squares = list(accumulate((x * x for x in integers), initial=0))
            sizes = list(accumulate(map(abs, integers), initial=0))
            self.totals_made = (sums, squares, sizes, bits)
        return self.totals_made

    def extreme(self, choose, low, high):
        """min or max over a range of positions that is not empty."""
        first_block, last_block = -(-low // BLOCK_LEN), high // BLOCK_LEN
        if first_block >= last_block:
            return choose(self.values[low:high])
        candidates = self.values[low:first_block * BLOCK_LEN]
        candidates += self.blocks(choose)[first_block:last_block]
        candidates += self.values[last_block * BLOCK_LEN:high]
        return choose(candidates)

    def blocks(self, choose):
        if choose not in self.blocks_made:
            starts = range(0, len(self.values), BLOCK_LEN)
            extremes = [choose(self.values[start:start + BLOCK_LEN]) for start in starts]
            self.blocks_made[choose] = extremes
        return self.blocks_made[choose]


def between(times, start, end):
    low = 0 if start is None else bisect_left(times, start)
    return low, max(low, bisect_left(times, end))


class Expression:
    """A feature's aggregate, such as sum(amount) or last_n(city,3)."""

    def __init__(self, text, types):
        match = EXPRESSION.fullmatch(text.replace(" ", ""))
        assert match, f"{text}: not an aggregate"
        self.function = match[1]
        self.column, *self.parameters = match[2].split(",") if match[2] else [None]
        assert self.column is None or self.column in types, f"{text}: no column {self.column}"
        assert self.function in FUNCTIONS or text == "count()", f"{text}: no such aggregate"

    def evaluate(self, events, start, end):
        """The value over start <= ts < end, with what judging an answer against it needs."""
        if self.column is None:
            return exact(events.rows(start, end))
        column = events.columns[self.column]
        low, high = column.between(start, end)
        return FUNCTIONS[self.function](column, low, high, *self.parameters)


def exact(value):
    """An answer that must be met to the last bit."""
    return {"kind": "exact", "value": value}


def count(_column, low, high):
    return exact(high - low)


def sum_of(column, low, high):
    if low == high:
        return exact(None)
    sums, _, sizes, bits = column.totals()
    total = sums[high] - sums[low]
    if column.kind == "i64":
        return exact(total)
    return near("sum", Fraction(total, 1 << bits), Fraction(sizes[high] - sizes[low], 1 << bits))


def mean(column, low, high):
    if low == high:
        return exact(None)
    sums, _, sizes, bits = column.totals()
    total, weight = sums[high] - sums[low], (high - low) << bits
    if column.kind == "i64":
        return exact(rounded(total, weight)) | {"exact": f"{total}/{weight}"}
    return near("mean", Fraction(total, weight), Fraction(sizes[high] - sizes[low], weight))


def near(kind, fraction, size):
    """A double held to an absolute error in terms of size, the sum (or mean) of |x|."""
    value = rounded(fraction.numerator, fraction.denominator)
    return {
        "kind": kind,
        "value": json_double(value),
        "rest": rest(fraction, value),
        "size": json_double(rounded(size.numerator, size.denominator)),
        "exact": ratio(fraction),
    }


def spread(sample, root):
    """var_pop, var_samp, stddev_pop or stddev_samp."""

    def evaluate(column, low, high):
        n = high - low
        if n <= sample:
            return exact(None)
        sums, squares, _, bits = column.totals()
        total = sums[high] - sums[low]
        m2_times_n = n * (squares[high] - squares[low]) - total * total
        variance = Fraction(m2_times_n, n * (n - sample) << 2 * bits)
        deviation = rounded_root(Fraction(m2_times_n, n * n << 2 * bits))
        value = rounded_root(variance) if root else rounded(*variance.as_integer_ratio())
        return {
            "kind": "spread",
            "value": json_double(value),
            "mean": json_double(rounded(total, n << bits)),
            "stddev_pop": json_double(deviation),
            "exact": ("root of " if root else "") + ratio(variance),
        }

    return evaluate


def ratio(fraction):
    return f"{fraction.numerator}/{fraction.denominator}"


def extreme(choose):
    def evaluate(column, low, high):
        return exact(None if low == high else column.extreme(choose, low, high))

    return evaluate


def first(column, low, high):
    return exact(None if low == high else column.values[low])


def last(column, low, high):
    return exact(None if low == high else column.values[high - 1])


def entries_answer(entries):
    """A list of values in ascending time order, and the (ts, value) pairs behind it."""
    return exact([value for _, value in entries]) | {"entries": [list(pair) for pair in entries]}


def first_n(column, low, high, n):
    return entries_answer(column.entries[low:min(high, low + int(n))])


def last_n(column, low, high, n):
    return entries_answer(column.entries[max(low, high - int(n)):high])


def first_distinct_n(column, low, high, n):
    return entries_answer(distinct(column.entries, range(low, high), int(n)))


def last_distinct_n(column, low, high, n):
    return entries_answer(distinct(column.entries, range(high - 1, low - 1, -1), int(n))[::-1])


def distinct(entries, positions, n):
    """The entries that show the first n distinct values in the order of the positions."""
    found = {}
    for position in positions:
        if len(found) == n:
            break
        found.setdefault(entries[position][1], entries[position])
    return list(found.values())


def approx_count_distinct(column, low, high, precision="12"):
    return {"kind": "distinct", "value": len(set(column.values[low:high])), "p": int(precision)}


def approx_percentile(column, low, high, quantile, *_k):
    """The exact nearest rank, and the least and greatest input within the allowed rank error."""
    n = high - low
    if n == 0:
        return {"kind": "percentile", "value": None, "n": 0}
    ordered = sorted(column.values[low:high])
    q = Fraction(quantile)
    lowest = max(1, ceil((q - PERCENTILE_ERROR) * n))
    highest = min(n, floor((q + PERCENTILE_ERROR) * n))
    nearest = max(1, ceil(q * n))
    return {
        "kind": "percentile",
        "value": ordered[nearest - 1],
        "n": n,
        "low": ordered[min(lowest, nearest) - 1],
        "high": ordered[max(highest, nearest) - 1],
    }


def top_n(column, low, high, n):
    """The most frequent values with their counts, ties by value ascending."""
    counts = Counter(column.values[low:high])
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    top = [list(item) for item in ordered[:int(n)]]
    return {"kind": "top", "value": top, "n": high - low, "distinct": len(counts)}


FUNCTIONS = {
    "count": count,
    "sum": sum_of,
    "mean": mean,
    "min": extreme(min),
    "max": extreme(max),
    "var_pop": spread(sample=0, root=False),
    "var_samp": spread(sample=1, root=False),
    "stddev_pop": spread(sample=0, root=True),
    "stddev_samp": spread(sample=1, root=True),
    "first": first,
    "last": last,
    "first_n": first_n,
    "last_n": last_n,
    "first_distinct_n": first_distinct_n,
    "last_distinct_n": last_distinct_n,
    "approx_count_distinct": approx_count_distinct,
    "approx_percentile": approx_percentile,
    "top_n": top_n,
}
