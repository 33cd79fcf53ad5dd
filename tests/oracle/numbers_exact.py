"""Exact numbers as integers over a power of two, and their correctly rounded doubles."""

from fractions import Fraction
from math import isqrt

ROOT_BITS = 160


def scale_bits(values):
    """The least k for which every value times 2^k is an integer."""
    return max((value.as_integer_ratio()[1].bit_length() - 1 for value in values), default=0)


def scaled(value, bits):
    """value * 2^bits as an integer; bits comes from scale_bits."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (bits - denominator.bit_length() + 1)


def rounded(numerator, denominator):
    """The double nearest to a quotient, ties to even; an infinity past the range of doubles."""
    try:
        return numerator / denominator
    except OverflowError:
        return float("inf") if numerator > 0 else float("-inf")


def rounded_root(fraction):
    """The double nearest to the root of a fraction, from its first ROOT_BITS bits or so."""
    if fraction == 0:
        return 0.0
    size = fraction.numerator.bit_length() - fraction.denominator.bit_length()
    shift = max(0, ROOT_BITS - size)
    shift += shift % 2
    root = isqrt((fraction.numerator << shift) // fraction.denominator)
    return rounded(root, 1 << (shift // 2))


def rest(fraction, value):
    """What rounding left: the fraction minus its double, itself as a double."""
    if value in (float("inf"), float("-inf")):
        return 0.0
    difference = fraction - Fraction(value)
    return rounded(difference.numerator, difference.denominator)


def json_double(value):
    """A double as JSON can hold it: infinities become words."""
    if value == float("inf"):
        return "inf"
    return "-inf" if value == float("-inf") else value
