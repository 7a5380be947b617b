#!/usr/bin/env python3
"""Follows the clusters of this host over D-Bus: nodes that come and go, weights, take-overs.

Needs dbus-next from PyPI. Argument: the address of a bus other than the system bus.
"""
import asyncio
import sys

from dbus_next import BusType, Message
from dbus_next.aio import MessageBus


def plain(value):
    """D-Bus variants, wherever they are, as what they hold."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return plain(value.value) if hasattr(value, "signature") else value


def heard(message):
    if (message.path or "").startswith("/org/nlbd1"):
        print(message.path, message.member, *map(plain, message.body), flush=True)


async def main():
    address = sys.argv[1] if len(sys.argv) > 1 else None
    bus = await MessageBus(bus_address=address, bus_type=BusType.SYSTEM).connect()
    await bus.call(Message("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                           "AddMatch", signature="s", body=["type='signal',sender='org.nlbd1'"]))
    bus.add_message_handler(heard)
    state = await bus.call(Message("org.nlbd1", "/org/nlbd1", "org.freedesktop.DBus.ObjectManager",
                                   "GetManagedObjects"))
    for path, interfaces in sorted(state.body[0].items()):
        print(path, plain(interfaces))
    await bus.wait_for_disconnect()

try:
    asyncio.run(main())
except (EOFError, KeyboardInterrupt):
    sys.exit("follow.py: the bus is gone")
