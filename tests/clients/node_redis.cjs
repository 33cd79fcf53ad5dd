// TileKV through node-redis as it is, in RESP2 and RESP3: node node_redis.cjs port. A difference
// from what is expected ends it with an assertion.

const assert = require("node:assert");
const { createClient } = require("redis");

async function check(port, RESP) {
  const client = createClient({ socket: { port }, RESP, name: "tests" });
  await client.connect();
  assert.strictEqual(await client.ping(), "PONG");
  assert.strictEqual(await client.clientGetName(), "tests");
  assert.strictEqual(await client.flushDb(), "OK");
  assert.strictEqual(await client.hSet("u:1", { name: "Ada", visits: "1" }), 2);
  assert.strictEqual(await client.hIncrBy("u:1", "visits", 2), 3);
  assert.deepStrictEqual({ ...(await client.hGetAll("u:1")) }, { name: "Ada", visits: "3" });
  assert.strictEqual(await client.set("token", "x", { EX: 100 }), "OK");
  assert.ok((await client.ttl("token")) > 90);
  const seen = [];
  for await (const keys of client.scanIterator({ MATCH: "*" })) seen.push(...[keys].flat());
  assert.deepStrictEqual(seen.sort(), ["token", "u:1"]);
  const replies = await client.multi().set("a", "1").get("a").exec();
  assert.deepStrictEqual(replies, ["OK", "1"]);
  const many = Array.from({ length: 10000 }, (_, i) => client.set(`k:${i}`, String(i)));
  assert.strictEqual((await Promise.all(many)).length, 10000);
  assert.strictEqual(await client.get("k:9999"), "9999");
  const text = `VIEW.CREATE node${RESP} TILE 1h COLUMNS 1 x:f64 FEATURES 1 s=sum(x)`;
  assert.strictEqual(await client.sendCommand(text.split(" ")), "OK");
  const view = `node${RESP}`;
  await client.sendCommand(["TILE.ADD", view, "u:1", "1767225600000", "x", "2.5"]);
  const read = ["WINDOW.GET", view, "u:1", "s@1h", "AT", "1767229200000"];
  assert.deepStrictEqual((await client.sendCommand(read)).map(Number), [2.5]);
  await assert.rejects(client.sendCommand(["CLUSTER", "SLOTS"]), /unknown command/);
  await client.close();
}

check(Number(process.argv[2]), 2)
  .then(() => check(Number(process.argv[2]), 3))
  .then(
    () => console.log("node-redis", require("redis/package.json").version),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
