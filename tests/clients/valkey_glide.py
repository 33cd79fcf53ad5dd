"""TileKV through valkey-glide as it is: python3 valkey_glide.py port.

A difference from what is expected ends it with a traceback.
"""

import asyncio
import importlib.metadata
import sys

import glide


async def main(port):
    configuration = glide.GlideClientConfiguration(
        [glide.NodeAddress("localhost", port)], client_name="tests", request_timeout=5000
    )
    client = await glide.GlideClient.create(configuration)
    assert await client.ping() == b"PONG"
    assert await client.client_getname() == b"tests"
    assert await client.flushdb() == "OK"
    assert await client.hset("u:1", {"name": "Ada", "visits": "1"}) == 2
    assert await client.hincrby("u:1", "visits", 2) == 3
    assert await client.hgetall("u:1") == {b"name": b"Ada", b"visits": b"3"}
    assert await client.hmget("u:1", ["visits", "nothing"]) == [b"3", None]
    assert await client.set("token", b"\x00\xff") == "OK"
    assert await client.get("token") == b"\x00\xff"
    assert await client.expire("token", 100) is True
    assert 90 < await client.ttl("token") <= 100
    cursor, keys = await client.scan(b"0", count=100)
    assert (cursor, sorted(keys)) == (b"0", [b"token", b"u:1"]), (cursor, keys)
    batch = glide.Batch(is_atomic=True)
    batch.set("a", "1")
    batch.get("a")
    assert await client.exec(batch, raise_on_error=True) == ["OK", b"1"]
    view = "VIEW.CREATE glide TILE 1h COLUMNS 1 x:f64 FEATURES 1 s=sum(x)"
    assert await client.custom_command(view.split()) == "OK"
    row = ["TILE.ADD", "glide", "u:1", "1767225600000", "x", "2.5"]
    assert await client.custom_command(row) == 1
    read = ["WINDOW.GET", "glide", "u:1", "s@1h", "AT", "1767229200000"]
    assert [float(value) for value in await client.custom_command(read)] == [2.5]
    try:
        await client.custom_command(["CLUSTER", "SLOTS"])
        raise AssertionError("CLUSTER was answered")
    except glide.RequestError as error:
        assert "unknown command" in str(error).lower(), error
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
    print("valkey-glide", importlib.metadata.version("valkey-glide"))
