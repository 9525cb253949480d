"""A child process that runs the bot and reports every host that it tried to reach.

Run ``python -m tests.rig.talker play|discord|telemetry FOLDER`` in a separate network namespace (``unshare
--map-root-user --net``). It prints one line of JSON: every host that Python code looked up or connected to,
and the number of packets that the kernel could not route, which includes native code. ``play`` chats, reacts
and trains in the playground with the real models. ``discord`` starts the command with a token. ``telemetry``
connects to a foreign host, as a library that phones home would.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

HOME = "192.0.2.1"
"""Address reserved for documentation."""

talked: set[str] = set()


def listen(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: record the host of every connection and look-up."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple):
            talked.add(str(address[0]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        talked.add(str(arguments[0]))


def loopback_up() -> None:
    """Switch on the loopback interface, which is off in a new namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, contextlib.suppress(OSError):
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running


def n_unroutable() -> int:
    """Number of packets without a route, from the kernel's counters of this namespace."""
    names, values = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()[:2]]
    return int(values[names.index("OutNoRoutes")])


def phone_home() -> None:
    """Connect to :data:`HOME`."""
    with contextlib.suppress(OSError):
        socket.create_connection((HOME, 80), timeout=1)


async def play(folder: Path) -> None:
    """Chat, agree, react, and wait for a round."""
    from bot.app.playground import open_playground
    from bot.config import parse_settings

    settings = parse_settings(
        {"generator": {"model_dir": str(folder), "device": "cpu", "max_new_tokens": 24}}
    )
    async with open_playground(settings, seed=0) as playground:
        channel, ada = playground.preview.channel, playground.preview.viewers[0]
        await ada.send(channel, "what should I cook?")
        while channel.last_message.author.id != playground.bot.me or not channel.last_message.components:
            await asyncio.sleep(0.1)
        reply = channel.last_message
        await ada.click(reply, label="Learn what I like")
        await ada.react(reply, "👍")
        while await playground.house.store.learning.latest_round() is None:
            await asyncio.sleep(0.1)


def main() -> None:
    """Run the requested scenario and print the result."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    loopback_up()
    sys.addaudithook(listen)
    if what == "discord":
        from bot.commands.main import run

        os.chdir(folder)
        os.environ["DISCORD_TOKEN"] = "MTIz.Xabcde.made-up-token-that-nobody-has"
        run([])
    elif what == "telemetry":
        phone_home()
    else:
        asyncio.run(play(folder))
    print(json.dumps({"talked": sorted(talked), "unroutable": n_unroutable()}))


if __name__ == "__main__":
    main()
