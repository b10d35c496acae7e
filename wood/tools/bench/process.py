"""Servers that a benchmark starts for itself, each in a process of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO

from wood.model.errors import WoodError
from wood.tools.children import dying_with_parent

HOST = "127.0.0.1"
START_TIMEOUT = 30.0
END_TIMEOUT = 10.0
POLL = 0.02


class ServerFailed(WoodError):
    """A server that was to be measured did not start."""


def free_ports(count: int) -> list[int]:
    """Ports on `HOST` that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@asynccontextmanager
async def running(name: str, command: Sequence[str], ports: Sequence[int]) -> AsyncIterator[None]:
    """Run `command`; enter when all of `ports` accept; end it at the exit.

    It gets a session of its own, so that Ctrl-C reaches this process alone, which then ends it in
    order. On Linux it also ends when this process is killed. Raises `ServerFailed`.
    """
    with TemporaryFile() as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, preexec_fn=dying_with_parent(),
            )  # fmt: skip
        except OSError as error:
            raise ServerFailed(f"cannot run {command[0]}: {error.strerror}") from None
        try:
            for port in ports:
                await _accepting(process, name, port, output)
            yield
        finally:
            await _end(process)


async def _accepting(
    process: asyncio.subprocess.Process, name: str, port: int, output: IO[bytes]
) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT):
            while not await _accepts(port):
                if process.returncode is not None:
                    raise ServerFailed(f"{name} did not start: {_last_line(output)}")
                await asyncio.sleep(POLL)
    except TimeoutError:
        message = f"{name} does not listen on port {port} after {START_TIMEOUT:g} s"
        raise ServerFailed(message) from None


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def _last_line(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(END_TIMEOUT):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
