"""TileKV through redis-py as it is: python3 redis_py.py port.

Connects in RESP2 and in RESP3 with redis-py's own defaults, and does what its users do: commands,
pipelines with and without MULTI, errors, retries of a stamped write. Any difference from what is
expected ends it with a traceback.
"""

import sys

import redis

VIEW = (
    "VIEW.CREATE {view} TILE 1h COLUMNS 2 amount:f64 pieces:i64 "
    "FEATURES 4 orders=count() spend=sum(amount) pieces=sum(pieces) dearest=max(amount)"
)
NOON = 1_767_268_800_000
HOUR = 3_600_000


def number(value):
    """Doubles are text in RESP2, numbers in RESP3."""
    return None if value is None else float(value)


def check_protocol(port, protocol):
    view = f"shop{protocol}"
    client = redis.Redis(port=port, protocol=protocol, client_name="tests", decode_responses=True)
    assert client.ping() is True
    assert client.echo("hello") == "hello"
    assert client.client_getname() == "tests"
    assert client.execute_command(*VIEW.format(view=view).split()) == "OK"
    assert view in client.execute_command("VIEW.LIST")
    check_writes(client, view)
    check_reads(client, view)
    check_pipelines(client, view)
    check_errors(client, view)
    assert client.info()["redis_version"] == "7.4.0"
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert client.dbsize() == 0
    assert isinstance(client.time()[0], int)
    assert 30 < len(client.command())
    assert client.client_list()[0]["name"] == "tests"
    client.close()


def check_writes(client, view):
    add = ("TILE.ADD", view, "u:1", NOON, "amount", 9.5, "pieces", 2)
    assert client.execute_command(*add, "PRODUCER", "p", 1) == 1
    assert client.execute_command(*add, "PRODUCER", "p", 1) == 0
    rows = ("u:1", NOON, 0.5, 2**63 - 1, b"\xff\x00", NOON, "-", "-")
    columns = ("COLUMNS", 2, "amount", "pieces", "ROWS", 2)
    assert client.execute_command("TILE.MADD", view, "NULL", "-", *columns, *rows) == 2
    assert client.execute_command("PRODUCER.GET", view, "p") == 1


def check_reads(client, view):
    selectors = ("orders@1d", "spend@1d", "pieces@1d", "dearest@1d")
    read = client.execute_command("WINDOW.GET", view, "u:1", *selectors, "AT", NOON + HOUR)
    assert [number(value) for value in read] == [2, 10.0, float(2**63 + 1), 9.5], read
    assert int(read[2]) == 2**63 + 1, read
    read = client.execute_command(
        "WINDOW.MGET", view, "ENTITIES", 3, "u:1", b"\xff\x00", "nobody",
        "SELECTORS", 2, "orders@1h", "spend@1h", "AT", NOON + HOUR, "STATUS",
    )
    statuses = [[value[1] for value in row] for row in read]
    assert statuses == [["ok", "ok"], ["ok", "ok"], ["unseen", "unseen"]], read
    values = [[number(value[0]) for value in row] for row in read]
    assert values == [[2, 10.0], [1, None], [0, None]], read


def check_pipelines(client, view):
    for transaction in (True, False):
        with client.pipeline(transaction=transaction) as pipeline:
            for _ in range(100):
                pipeline.execute_command("TILE.ADD", view, "u:2", NOON, "amount", 1)
            pipeline.execute_command("WINDOW.GET", view, "u:2", "orders@1h", "AT", NOON + HOUR)
            replies = pipeline.execute()
        assert replies[:100] == [1] * 100, replies
    assert replies[100] == [200], replies


def check_errors(client, view):
    refused("NOVIEW", client, "WINDOW.GET", "nope", "u:1", "orders@1h")
    refused("NOFEATURE", client, "WINDOW.GET", view, "u:1", "nope@1h")
    refused("BADWINDOW", client, "WINDOW.GET", view, "u:1", "orders@90m")
    refused("unknown command", client, "CLUSTER", "SLOTS")
    with client.pipeline(transaction=True) as pipeline:
        pipeline.execute_command("TILE.ADD", view, "u:3", NOON, "amount", "many")
        pipeline.ping()
        replies = pipeline.execute(raise_on_error=False)
    assert isinstance(replies[0], redis.ResponseError) and replies[1] is True, replies
    assert client.ping() is True


def refused(word, client, *command):
    try:
        reply = client.execute_command(*command)
    except redis.ResponseError as error:
        assert word in str(error), error
    else:
        raise AssertionError(f"{command}: {reply}")


if __name__ == "__main__":
    for version in (2, 3):
        check_protocol(int(sys.argv[1]), version)
    print("redis-py", redis.__version__)
