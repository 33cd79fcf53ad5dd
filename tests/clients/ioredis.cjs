// TileKV through ioredis as it is: node ioredis.cjs port. A difference from what is expected ends
// it with an assertion.

const assert = require("node:assert");
const { Redis } = require("ioredis");

async function main(port) {
  const client = new Redis({ port, connectionName: "tests" });
  assert.strictEqual(await client.ping(), "PONG");
  assert.strictEqual(await client.client("GETNAME"), "tests");
  assert.strictEqual(await client.flushdb(), "OK");
  await records(client);
  await windows(client);
  await transactions(client);
  await assert.rejects(client.call("CLUSTER", "SLOTS"), /unknown command/);
  assert.match(await client.info("server"), /redis_version:7\.4\.0/);
  await client.quit();
}

async function records(client) {
  assert.strictEqual(await client.hset("u:1", { name: "Ada", visits: 1 }), 2);
  assert.strictEqual(await client.hincrby("u:1", "visits", 2), 3);
  assert.deepStrictEqual(await client.hgetall("u:1"), { name: "Ada", visits: "3" });
  assert.deepStrictEqual(await client.hmget("u:1", "visits", "nothing"), ["3", null]);
  assert.strictEqual(await client.set("token", "x", "EX", 100), "OK");
  assert.ok((await client.ttl("token")) > 90);
  const bytes = Buffer.from([0, 255, 10, 13]);
  await client.set("bytes", bytes);
  assert.deepStrictEqual(await client.getBuffer("bytes"), bytes);
  const seen = [];
  for await (const keys of client.scanStream({ match: "*", count: 2 })) seen.push(...keys);
  assert.deepStrictEqual(seen.sort(), ["bytes", "token", "u:1"]);
  assert.strictEqual(await client.del("u:1", "bytes", "nobody"), 2);
}

async function windows(client) {
  const view = "VIEW.CREATE js TILE 1h COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)";
  assert.strictEqual(await client.call(...view.split(" ")), "OK");
  assert.strictEqual(await client.call("TILE.ADD", "js", "u:1", 1767225600000, "x", 7), 1);
  const read = ["WINDOW.GET", "js", "u:1", "n@1h", "s@1h", "AT", 1767229200000];
  assert.deepStrictEqual((await client.call(...read)).map(Number), [1, 7]);
}

async function transactions(client) {
  const replies = await client.multi().set("a", "1").get("a").hget("a", "f").exec();
  assert.strictEqual(replies[1][1], "1");
  assert.match(replies[2][0].message, /WRONGTYPE/);
  const many = client.pipeline();
  for (let i = 0; i < 10000; i += 1) many.hset("h", `f${i}`, i);
  assert.strictEqual((await many.exec()).length, 10000);
  assert.strictEqual(await client.hlen("h"), 10000);
}

main(Number(process.argv[2])).then(
  () => console.log("ioredis", require("ioredis/package.json").version),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
