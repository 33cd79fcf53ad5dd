"""Sketches exchanged with Apache DataSketches for Python as it is: datasketches_py.py port.

Sketches that it made are set and merged into tiles and answer within the stated bounds; sketches
that the server prints are read by it and estimate what the server answers. Any difference from
what is expected ends it with a traceback.
"""

import base64
import json
import math
import random
import sys
from collections import Counter

import datasketches as ds
import redis

VIEW = (
    "VIEW.CREATE sketches TILE 1h COLUMNS 3 name:str number:i64 size:f64 FEATURES 9 "
    "names=approx_count_distinct(name) numbers=approx_count_distinct(number,10) "
    "sizes=approx_count_distinct(size) median=approx_percentile(size,0.5) "
    "upper=approx_percentile(size,0.95) middle=approx_percentile(number,0.5) "
    "top_names=top_n(name,3) top_numbers=top_n(number,3) top_sizes=top_n(size,3)"
)
NOON = 1_767_268_800_000
HOUR = 3_600_000
HLL_TYPES = [ds.tgt_hll_type.HLL_4, ds.tgt_hll_type.HLL_6, ds.tgt_hll_type.HLL_8]


class Server:
    def __init__(self, port):
        self.client = redis.Redis(port=port, protocol=3, decode_responses=True)
        assert self.client.execute_command(*VIEW.split()) == "OK"
        self.entities = 0

    def entity(self):
        self.entities += 1
        return f"e{self.entities}"

    def put(self, verb, entity, feature, partial, start=NOON):
        self.client.execute_command(verb, "sketches", entity, start, *pairs(feature, partial))

    def get(self, entity, feature):
        window = f"{feature}@1d"
        return self.client.execute_command(
            "WINDOW.GET", "sketches", entity, window, "AT", NOON + 12 * HOUR)[0]

    def partial(self, entity, feature):
        tiles = self.client.execute_command(
            "TILE.RANGE", "sketches", entity, NOON, NOON + HOUR, "FEATURES", 1, feature)
        return json.loads(tiles[0][1][0])

    def refusal(self, feature, partial):
        try:
            self.put("TILE.SET", self.entity(), feature, partial)
        except redis.ResponseError as error:
            assert str(error).startswith("BADVALUE "), error
            return str(error)
        raise AssertionError(f"{feature} takes {partial}")


def pairs(feature, partial):
    """A feature with its partial, and those that share its state: they have the same."""
    shared = ["median", "upper"]
    features = shared if feature in shared else [feature]
    return [word for name in features for word in (name, json.dumps(partial))]


def b64(image):
    return {"b64": base64.b64encode(image).decode()}


def image_of(partial):
    return base64.b64decode(partial["b64"], validate=True)


def check_distinct(server, feature, lg_k, values):
    for kind in HLL_TYPES:
        for serialize in ("serialize_compact", "serialize_updatable"):
            sketch = ds.hll_sketch(lg_k, kind)
            for value in values:
                sketch.update(value)
            entity = server.entity()
            server.put("TILE.SET", entity, feature, b64(getattr(sketch, serialize)()))
            check_estimate(server, entity, feature, len(values), lg_k)
            # Values that are in the sketch already change nothing: both sides hash alike.
            before = server.get(entity, feature)
            server.put("TILE.MERGE", entity, feature, {"values": values[:300]})
            assert server.get(entity, feature) == before
            server.put("TILE.MERGE", entity, feature, b64(sketch.serialize_compact()))
            assert server.get(entity, feature) == before


def check_estimate(server, entity, feature, count, lg_k):
    answer = server.get(entity, feature)
    assert isinstance(answer, int)
    assert abs(answer - count) <= 4 * 1.04 / math.sqrt(2**lg_k) * count, (answer, count)
    read = ds.hll_sketch.deserialize(image_of(server.partial(entity, feature)))
    assert read.lg_config_k == lg_k
    assert round(read.get_estimate()) == answer, (read.get_estimate(), answer)
    merged = ds.hll_union(lg_k)
    merged.update(read)
    assert round(merged.get_estimate()) == answer


def check_all_distinct(server):
    for count in (1, 7, 8, 100, 300, 385, 5_000, 60_000):
        check_distinct(server, "names", 12, [f"visitor {at}" for at in range(count)])
        check_distinct(server, "numbers", 10, [at * 977 - 4_000 for at in range(count)])
        check_distinct(server, "sizes", 12, [at / 8 - 100 for at in range(count)])
    finer = ds.hll_sketch(14)
    coarser = ds.hll_sketch(10)
    for at in range(20_000):
        finer.update(f"visitor {at}")
        coarser.update(f"visitor {at}")
    entity = server.entity()
    server.put("TILE.SET", entity, "names", b64(finer.serialize_compact()))
    check_estimate(server, entity, "names", 20_000, 12)
    assert "lg_k of 12" in server.refusal("names", b64(coarser.serialize_compact()))


def rank_error(ordered, value, quantile):
    low = sum(other < value for other in ordered) + 1
    high = sum(other <= value for other in ordered)
    wanted = quantile * len(ordered)
    return max(low - wanted, wanted - high, 0) / len(ordered)


def check_percentiles(server):
    for count in (1, 2, 200, 201, 3_000, 100_000):
        sizes = [random.gauss(0, 100) for _ in range(count)]
        sketch = ds.kll_doubles_sketch(200)
        for size in sizes:
            sketch.update(size)
        entity = server.entity()
        server.put("TILE.SET", entity, "median", b64(sketch.serialize()))
        for feature, quantile in (("median", 0.5), ("upper", 0.95)):
            answer = server.get(entity, feature)
            assert answer in sizes
            error = rank_error(sizes, answer, quantile)
            assert error <= (0.02 if count > 200 else 1 / count), (count, error)
            assert answer == sketch.get_quantile(quantile, True)
        partial = server.partial(entity, "median")
        if count <= 200:
            assert partial == {"values": sorted(sizes)}
            continue
        # A second tile of the same, and what is printed of the first one.
        read = ds.kll_doubles_sketch.deserialize(image_of(partial))
        assert (read.n, read.k, read.get_min_value(), read.get_max_value()) == (
            count, 200, min(sizes), max(sizes))
        assert read.get_quantile(0.5, True) == server.get(entity, "median")
        server.put("TILE.SET", entity, "median", b64(sketch.serialize()), start=NOON + HOUR)
        assert rank_error(sizes, server.get(entity, "median"), 0.5) <= 0.02


def check_integers(server):
    entity = server.entity()
    numbers = [(1 << 60) + at for at in range(500)]
    sketch = ds.kll_items_sketch(200)
    for number in numbers:
        sketch.update(number)
    partial = b64(sketch.serialize(ds.PyLongsSerDe())) | {"items": "i64"}
    server.put("TILE.SET", entity, "middle", partial)
    answer = server.get(entity, "middle")
    assert rank_error(numbers, answer, 0.5) <= 0.02
    printed = server.partial(entity, "middle")
    assert printed["items"] == "i64"
    read = ds.kll_items_sketch.deserialize(image_of(printed), ds.PyLongsSerDe())
    assert read.n == 500 and read.get_quantile(0.5, True) == answer
    small = ds.kll_doubles_sketch(200)
    for at in range(1_000):
        small.update(at)
    entity = server.entity()
    server.put("TILE.SET", entity, "middle", b64(small.serialize()))
    assert isinstance(server.get(entity, "middle"), int)
    assert set(server.partial(entity, "middle")) == {"b64"}
    small.update(0.5)
    assert "integer" in server.refusal("middle", b64(small.serialize()))
    coarse = ds.kll_doubles_sketch(20)
    for at in range(1_000):
        coarse.update(at)
    assert "k 200 or more" in server.refusal("median", b64(coarse.serialize()))


def check_top(server, feature, values, make, image, read):
    for count in (1, 50, 3_000, 100_000):
        rows = [values[int(len(values) ** random.random()) - 1] for _ in range(count)]
        sketch = make()
        for row in rows:
            sketch.update(row)
        entity = server.entity()
        server.put("TILE.SET", entity, feature, b64(image(sketch)))
        bound = count / 64
        for _ in range(2):
            answer = server.get(entity, feature)
            exact = sorted(Counter(rows).items(), key=lambda item: (-item[1], item[0]))[:3]
            assert len(answer) == len(exact)
            for (value, found), (_, expected) in zip(answer, exact):
                assert abs(found - expected) <= bound, (answer, exact)
                assert 0 <= found - Counter(rows)[value] <= bound
            if len(set(rows)) <= 64:
                assert [tuple(pair) for pair in answer] == exact
            check_printed(server, entity, feature, rows, read)
            # The second round is merged from the same rows once more, in another tile.
            server.put("TILE.SET", entity, feature, b64(image(sketch)), start=NOON - HOUR)
            rows, bound = rows * 2, bound * 2


def check_printed(server, entity, feature, rows, read):
    partial = server.partial(entity, feature)
    if "values" in partial:
        assert len(partial["values"]) <= 64
        return
    sketch = read(image_of(partial))
    assert len(rows) in (sketch.total_weight, 2 * sketch.total_weight)
    if len(rows) == sketch.total_weight:
        for value, count in server.get(entity, feature):
            assert sketch.get_estimate(value) == count
            assert sketch.get_lower_bound(value) <= Counter(rows)[value] <= count


def check_all_top(server):
    names = [f"name {at}" for at in range(2_000)]
    check_top(server, "top_names", names, lambda: ds.frequent_strings_sketch(8),
              lambda sketch: sketch.serialize(), ds.frequent_strings_sketch.deserialize)
    for feature, values, serde in (
            ("top_numbers", [at * 3 for at in range(2_000)], ds.PyLongsSerDe()),
            ("top_sizes", [at / 4 for at in range(2_000)], ds.PyDoublesSerDe())):
        check_top(server, feature, values, lambda: ds.frequent_items_sketch(8),
                  lambda sketch, serde=serde: sketch.serialize(serde),
                  lambda image, serde=serde: ds.frequent_items_sketch.deserialize(image, serde))
    coarse = ds.frequent_strings_sketch(3)
    for at in range(2_000):
        coarse.update(f"name {at}")
    assert "a map of at least 256 entries" in server.refusal("top_names", b64(coarse.serialize()))


def main():
    seed = random.randrange(1 << 32)
    print(f"datasketches, seed {seed}")
    random.seed(seed)
    server = Server(int(sys.argv[1]))
    check_all_distinct(server)
    check_percentiles(server)
    check_integers(server)
    check_all_top(server)


if __name__ == "__main__":
    main()
