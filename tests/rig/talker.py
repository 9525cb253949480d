"""A child process that runs the bot and says whom it tried to talk to.

``python -m tests.rig.talker play|discord|telemetry FOLDER``, best inside a network namespace of its own
(``unshare --map-root-user --net``). Prints one line of JSON: every host that was looked up or connected to
from Python, and how many packets the kernel could not route, which counts native code as well. ``play``
chats, reacts and trains in the playground with the real models; ``discord`` starts the command with a token;
``telemetry`` is ``play`` with one library that phones home.
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

from bot.app.playground import open_playground
from bot.commands.main import run
from bot.config import parse_settings

HOME = "192.0.2.1"
"""An address for documentation: nobody's."""

talked: set[str] = set()


def listen(event: str, arguments: tuple[object, ...]) -> None:
    """Keep the host of everything that leads out of the process."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple):
            talked.add(str(address[0]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        talked.add(str(arguments[0]))


def loopback_up() -> None:
    """Switch the loopback interface on: a new namespace has it, switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, contextlib.suppress(OSError):
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running


def n_unroutable() -> int:
    """Packets that had nowhere to go, as the kernel counts them for this namespace."""
    names, values = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()[:2]]
    return int(values[names.index("OutNoRoutes")])


async def play(folder: Path, *, phone_home: bool) -> None:
    """Chat, agree, react, and wait for a training round."""
    settings = parse_settings(
        {"generator": {"model_dir": str(folder), "device": "cpu", "max_new_tokens": 24}}
    )
    async with open_playground(settings, seed=0) as playground:
        channel, ada = playground.preview.channel, playground.preview.viewers[0]
        if phone_home:
            with contextlib.suppress(OSError):
                socket.create_connection((HOME, 80), timeout=1)
            return
        await ada.send(channel, "what should I cook?")
        while channel.last_message.author.id != playground.bot.me or not channel.last_message.components:
            await asyncio.sleep(0.1)
        reply = channel.last_message
        await ada.click(reply, label="Learn what I like")
        await ada.react(reply, "👍")
        while await playground.house.store.learning.latest_round() is None:
            await asyncio.sleep(0.1)


def main() -> None:
    """Do what is asked and print the outcome."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    loopback_up()
    sys.addaudithook(listen)
    if what == "discord":
        os.chdir(folder)
        os.environ["DISCORD_TOKEN"] = "MTIz.Xabcde.made-up-token-that-nobody-has"
        run([])
    else:
        asyncio.run(play(folder, phone_home=what == "telemetry"))
    print(json.dumps({"talked": sorted(talked), "unroutable": n_unroutable()}))


if __name__ == "__main__":
    main()
