"""Both faces of the client: waiting, threads, asyncio, lost servers, forks."""

import asyncio
import multiprocessing
import socket
import threading
import time

import pytest
import tilekv
from conftest import DAY, START
from servers import TileKVServer, free_port

AT = START + DAY
FRAME = {"entity": ["u:1", "u:2"], "time": [START, START], "amount": [1.5, 2.5]}


def test_the_server_says_who_it_is(client):
    assert client.server().startswith("tilekv-server ")
    assert 0 < client.ping() < 5
    assert client.command("PING") == "PONG" and client.command("ECHO", b"\xff") == b"\xff"
    replies = client.commands([["ECHO", str(number)] for number in range(500)], again=True)
    assert replies == [str(number).encode() for number in range(500)]
    with pytest.raises(tilekv.RefusedError, match="NOSUCH"):
        client.command("NOSUCH")


def test_asyncio_does_all_that_the_other_face_does(server, client, shop):
    async def story():
        async with tilekv.AsyncClient(server.address) as aio:
            assert await aio.madd(shop, FRAME) == 2
            assert await aio.add(shop, "u:1", START, amount=1, producer=("p", 1)) == 1
            result = await aio.window_mget(shop, ["u:1", "u:2"], ["spend@1d"], at=AT, status=True)
            assert result[0].values.tolist() == [2.5, 2.5]
            assert await aio.window_get(shop, "u:2", "orders@1d", at=AT) == {"orders@1d": 1}
            async with aio.job(shop, START, AT) as job:
                assert await job.write(FRAME) == 2
            with pytest.raises(ZeroDivisionError):
                async with aio.job(shop, START, AT) as job:
                    await job.write(FRAME)
                    raise ZeroDivisionError
            assert job.id not in [found["id"] for found in await aio.jobs()]
            async with await aio.producer(shop, "q") as producer:
                assert await producer.send(5, FRAME)
            assert await producer.last() == 5
            assert (await aio.view_info(shop)).entities == 2
            assert len(await aio.tiles(shop, "u:1", START, AT)) == 1
            with pytest.raises(tilekv.NoViewError):
                await aio.window_mget("nowhere", ["u"], ["n@1d"])
            many = [aio.window_mget(shop, ["u:1"], ["spend@1d"], at=AT) for _ in range(200)]
            answers = await asyncio.gather(*many)
            assert {answer[0].values[0] for answer in answers} == {3.0}
        with pytest.raises(tilekv.ClosedError):
            await aio.ping()

    asyncio.run(story())


def test_a_call_that_is_cancelled_leaves_the_client_usable(shop):
    async def story():
        # Nobody answers here, so that the call is under way when it is cancelled.
        silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        async with tilekv.AsyncClient(f"127.0.0.1:{port}", connect_timeout=30) as aio:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(aio.ping(), 0.05)
            task = asyncio.ensure_future(aio.ping())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        silent.close()

    asyncio.run(story())


def test_threads_share_a_client_and_run_while_one_waits(client, shop):
    client.madd(shop, FRAME)
    found, ticks = [], []

    def read():
        for _ in range(100):
            result = client.window_mget(shop, ["u:1"], ["spend@1d"], at=AT)
            found.append(result[0].values[0])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1.5] * 800

    with TileKVServerThatIsSilent() as address:
        waiting = tilekv.Client(address, connect_timeout=0.5, retries=0)

        def wait():
            with pytest.raises(tilekv.UnreachableError):
                waiting.ping()
            ticks.append("done")

        thread = threading.Thread(target=wait)
        thread.start()
        while thread.is_alive():
            ticks.append("tick")
            time.sleep(0.01)
        assert ticks.count("tick") > 5, "Python's lock is free while a call waits"


class TileKVServerThatIsSilent:
    """Takes connections and never answers."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __exit__(self, *_):
        self.listener.close()


def test_nobody_there_is_said_after_the_retries():
    started = time.monotonic()
    address = f"127.0.0.1:{free_port()}"
    with tilekv.Client(address, retries=2, retry_delay=0.05) as client:
        with pytest.raises(tilekv.UnreachableError, match="3 attempts") as raised:
            client.ping()
    assert isinstance(raised.value, ConnectionError) and raised.value.code is None
    assert 0.15 <= time.monotonic() - started < 5


def test_reads_and_producers_outlive_the_server(tmp_path):
    with TileKVServer(tmp_path) as server, tilekv.Client(server.address) as client:
        columns, features = {"n": "i64"}, {"n": "sum(n)"}
        client.create_view("v", tile="1h", columns=columns, features=features)
        producer = client.producer("v", "p")
        for sequence in range(20):
            if sequence == 10:
                server.kill()
                server.start()
            frame = {"entity": ["u"], "time": [START], "n": [1]}
            producer.send(sequence, frame)
            assert client.madd("v", frame, producer=("q", sequence)) == 1
        assert producer.flush() == 19
        server.kill()
        server.start()
        assert client.window_get("v", "u", "n@1d", at=AT) == {"n@1d": 40}


def test_a_job_does_not_outlive_the_server(tmp_path):
    with TileKVServer(tmp_path) as server, tilekv.Client(server.address) as client:
        columns, features = {"n": "i64"}, {"n": "sum(n)"}
        client.create_view("v", tile="1h", columns=columns, features=features)
        frame = {"entity": ["u"], "time": [START], "n": [1]}
        with pytest.raises(tilekv.NoJobError), client.job("v", START, AT) as job:
            job.write(frame)
            server.kill()
            server.start()
        assert client.view_info("v").tiles == 0


def test_a_password_is_asked_for(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("secret")
    secret.chmod(0o600)
    with TileKVServer(tmp_path, "--auth-password-file", secret) as server:
        options = {"retries": 0}
        with tilekv.Client(server.address, **options) as client:
            with pytest.raises(tilekv.NoAuthError):
                client.ping()
        with tilekv.Client(server.address, password="wrong", **options) as client:
            with pytest.raises(tilekv.WrongPasswordError):
                client.ping()
        with tilekv.Client(server.address, password="secret", **options) as client:
            assert client.ping() > 0


def test_options_that_cannot_work_are_named():
    with pytest.raises(tilekv.InputError, match="localhost"):
        tilekv.Client("localhost")
    with pytest.raises(tilekv.InputError, match="0 connections"):
        tilekv.Client(connections=0)
    with pytest.raises(tilekv.InputError, match="-1"):
        tilekv.Client(request_timeout=-1)


def _use_after_fork(client, address, out):
    try:
        client.ping()
    except tilekv.ClosedError as error:
        with tilekv.Client(address) as anew:
            out.put((str(error), anew.ping() > 0))


def test_a_fork_makes_a_client_of_its_own(server, client):
    client.ping()
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    process = context.Process(target=_use_after_fork, args=(client, server.address, out))
    process.start()
    said, works = out.get(timeout=30)
    process.join(30)
    assert "fork" in said and works and process.exitcode == 0
    assert client.ping() > 0
