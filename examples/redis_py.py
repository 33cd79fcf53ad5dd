"""redis-py speaks to TileKV as it is: any command goes through execute_command, and pipelines,
pools and retries are redis-py's own."""

import os

import redis

host, port = os.environ.get("TILEKV_ADDRESS", "127.0.0.1:8453").split(":")
client = redis.Redis(host=host, port=int(port), protocol=3, decode_responses=True)

view = "VIEW.CREATE likes TILE 1h COLUMNS 1 weight:f64 FEATURES 2 likes=count() weight=sum(weight)"
if "likes" not in client.execute_command("VIEW.LIST"):
    client.execute_command(*view.split())

# A pipeline of events; PRODUCER makes each count once, also where redis-py sends it again.
pipeline = client.pipeline(transaction=False)
for offset, (seller, weight) in enumerate([("s:1", 1.0), ("s:2", 0.5), ("s:1", 2.0)]):
    time = 1_767_225_600_000 + offset * 60_000
    event = ["TILE.ADD", "likes", seller, time, "weight", weight, "PRODUCER", "topic-0", offset]
    pipeline.execute_command(*event)
print(pipeline.execute())

# Windows of several sellers, as of 2026-01-02.
entities, selectors = ["s:1", "s:2", "s:3"], ["likes@1d", "weight@1d"]
command = ["WINDOW.MGET", "likes", "ENTITIES", len(entities), *entities]
command += ["SELECTORS", len(selectors), *selectors, "AT", 1_767_312_000_000]
for seller, (likes, weight) in zip(entities, client.execute_command(*command), strict=True):
    print(seller, likes, weight)
