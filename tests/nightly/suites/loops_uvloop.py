"""uvloop's loop beside a thread that computes."""

import asyncio
import threading

import uvloop


async def echo():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    for _ in range(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"line\n")
        assert await reader.readline() == b"line\n"
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()


def test_echo():
    uvloop.run(echo())


def test_echo_beside_a_thread():
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        uvloop.run(echo())
    finally:
        stop.set()
        thread.join()
