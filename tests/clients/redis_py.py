"""TileKV through redis-py as it is: python3 redis_py.py port.

Connects in RESP2 and in RESP3 with redis-py's own defaults, and does what its users do: commands,
pipelines with and without MULTI, errors, retries of a stamped write. Any difference from what is
expected ends it with a traceback.
"""

import socket
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
    check_diagnosis(client, view)
    check_transactions(client)
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


def check_diagnosis(client, view):
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    client.execute_command("TILE.ADD", view, "u:5", NOON, "amount", 1)
    client.execute_command("AUTH", "default", "hunter2")
    logged = [str(entry["command"]) for entry in client.slowlog_get(20)]
    client.config_set("slowlog-log-slower-than", 10_000)
    assert any(f"TILE.ADD {view} u:5" in command for command in logged), logged
    assert not any("hunter2" in command for command in logged), logged
    assert client.info("commandstats")["cmdstat_tile.add"]["calls"] > 0
    client.config_resetstat()
    assert "cmdstat_tile.add" not in client.info("commandstats")
    assert client.info("stats")["total_commands_processed"] < 10


def check_transactions(client):
    """A wrong argument is told in its place; an unknown command makes EXEC run nothing."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set("t", "1")
        pipeline.execute_command("HINCRBY", "h", "f", "many")
        pipeline.get("t")
        replies = pipeline.execute(raise_on_error=False)
    assert replies[0] is True and "not an integer" in str(replies[1]), replies
    assert replies[2] == "1", replies
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set("t", "2")
        pipeline.execute_command("NOSUCH")
        try:
            raise AssertionError(pipeline.execute())
        except redis.ResponseError as error:
            assert "unknown command" in str(error), error
    assert client.get("t") == "1"
    client.delete("t")


def check_monitor(port):
    client = redis.Redis(port=port)
    with client.monitor() as monitor:
        redis.Redis(port=port).echo('a "quoted" word')
        commands = (monitor.next_command()["command"] for _ in range(20))
        assert 'ECHO a "quoted" word' in commands
    client.close()


def check_timeout(port):
    """A client that says nothing is disconnected; one that speaks is not."""
    idle = socket.create_connection(("127.0.0.1", port), timeout=30)
    client = redis.Redis(port=port, single_connection_client=True)
    before = client.client_id()
    client.config_set("timeout", 1)
    idle.setblocking(False)
    while True:
        assert client.client_id() == before
        try:
            assert idle.recv(1) == b""
            break
        except BlockingIOError:
            continue
    client.config_set("timeout", 0)
    client.close()


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
    check_monitor(int(sys.argv[1]))
    check_timeout(int(sys.argv[1]))
    print("redis-py", redis.__version__)
