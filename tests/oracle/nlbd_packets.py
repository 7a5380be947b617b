"""What a packet for a service is, by SPEC.md 6.9: whom it concerns, whether it opens something, and
the bytes that its fingerprint is made of. Plain and slow, like the rest of the oracle."""

import ipaddress

SEEN = 256
HASHED = 64
HEADERS = 8
TCP, UDP, UDPLITE, ICMP, ICMP6 = 6, 17, 136, 1, 58
CHECKSUM_AT = {TCP: 16, UDP: 6, UDPLITE: 6, ICMP: 2, ICMP6: 2}
ERRORS = {(4, ICMP): {3, 4, 11, 12}, (6, ICMP6): {1, 2, 3, 4}}


class NoClient(Exception):
    """The packet concerns no client."""


def headers(packet):
    """Version, source, destination, protocol, identification, offset, payload."""
    if packet[0] >> 4 == 4:
        length, total = packet[0] % 16 * 4, int.from_bytes(packet[2:4], "big")
        if length < 20 or 0 < total < length:
            raise NoClient("malformed")
        offset = int.from_bytes(packet[6:8], "big") % 0x2000
        addresses = ipaddress.ip_address(packet[12:16]), ipaddress.ip_address(packet[16:20])
        payload = packet[length:total or None]
        return (4, *addresses, packet[9], int.from_bytes(packet[4:6], "big"), offset, payload)
    length = int.from_bytes(packet[4:6], "big")
    addresses = ipaddress.ip_address(packet[8:24]), ipaddress.ip_address(packet[24:40])
    rest = packet[40:40 + length if length else None]
    protocol, identification, offset = packet[6], 0, 0
    for _ in range(HEADERS):
        if protocol in (0, 43, 60, 135):
            size = (rest[1] + 1) * 8
        elif protocol == 51:
            size = (rest[1] + 2) * 4
        elif protocol == 44:
            size, offset = 8, int.from_bytes(rest[2:4], "big") >> 3
            identification = int.from_bytes(rest[4:8], "big") if offset else 0
        else:
            break
        protocol, rest = rest[0], rest[size:]
        if offset:
            break
    else:
        raise NoClient("malformed")
    return (6, *addresses, protocol, identification, offset, rest)


def read(packet, services):
    """Client, whether it opens something, and the bytes that are hashed."""
    packet = packet[:SEEN]
    version, source, destination, protocol, identification, offset, payload = headers(packet)
    if destination not in services or source in services:
        raise NoClient("not from a host to a service")
    client = source
    error = offset == 0 and payload[:1] and payload[0] in ERRORS.get((version, protocol), ())
    if error:
        quoted = payload[8:]
        size, at = (4, 12) if quoted[0] >> 4 == 4 else (16, 8)
        if ipaddress.ip_address(quoted[at:at + size]) != destination:
            raise NoClient("an error about a packet of somebody else")
        client = ipaddress.ip_address(quoted[at + size:at + 2 * size])
    opens = not error and offset == 0
    if opens and protocol == TCP:
        opens = payload[13] & 0x12 == 0x02
    hashed = bytearray(payload[:HASHED])
    at = CHECKSUM_AT.get(protocol)
    if at is not None and offset == 0 and len(hashed) >= at + 2:
        hashed[at:at + 2] = b"\0\0"
    head = bytes([version, protocol]) + offset.to_bytes(2, "big") + identification.to_bytes(4, "big")
    return client, opens, head + source.packed + destination.packed + bytes(hashed)
