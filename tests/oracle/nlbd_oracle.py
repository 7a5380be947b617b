"""An independent reading of protocol-spec/SPEC.md, chapters 2 to 5 and what 6.9 hashes.

Written from the text of the specification, in plain Python with nothing but the standard library;
it shares no code with the Rust crate and is as slow as it is plain. Section numbers are those of
SPEC.md. What the crate and this oracle both say is what the specification says. Chapters 2 and 3
are in nlbd_numbers.py, chapters 4 and 5 here, packets (6.9) in nlbd_packets.py.
"""

import hashlib
import hmac
import ipaddress
import struct

from nlbd_numbers import (  # noqa: F401  (whoever imports the oracle finds all of it here)
    M64, client_hash, cluster_addresses, digest, jhash, quotas, scale, table, table_by_pairs)

# --- 3.1 Limits ---------------------------------------------------------------------------------

MAX_PEERS = 63
MAX_FRAME = 1500
MIN_FRAME = 48
HEADER_LEN = 32
TAG_LEN = 16
MAX_NAME = 64
MAX_SOFTWARE = 32


# --- 5 Trust ------------------------------------------------------------------------------------

INSECURE_KEY = b"nlbd insecure: no authentication"


def hmac_sha256(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def hmac_word(key, text):
    """The first four bytes as a number."""
    return int.from_bytes(hmac_sha256(key, text)[:4], "big")


def make_tag(key, text):
    """5.2"""
    return hmac_sha256(key, text)[:TAG_LEN]


def proposed_seed(key, cluster):
    """5.5"""
    text = b"nlbd hash seed 1" + struct.pack(">H", cluster)
    return hmac_word(key, text)


def seal(key, cluster, node, incarnation, sequence, seed):
    """5.5: seals and opens."""
    text = b"nlbd seed seal 1" + struct.pack(">HQQQ", cluster, node, incarnation, sequence)
    return seed ^ hmac_word(key, text)


def keys_name(keys):
    """5.6"""
    return hmac_word(keys[0], b"nlbd keys 1" + b"".join(keys[1:]))


def fingerprint(cluster, seed, data):
    """5.6"""
    key = b"nlbd fingerprint 1" + struct.pack(">HI", cluster, seed)
    return int.from_bytes(hmac_sha256(key, data)[:8], "big")


# --- 4 Frames -----------------------------------------------------------------------------------

STATES = {1: "joining", 2: "active", 3: "draining", 4: "fenced", 5: "leaving", 6: "restarting"}
HEALTHS = {0: "unknown", 1: "well", 2: "ill"}
TYPES = {1: "heartbeat", 2: "information", 3: "pin_delta", 4: "pin_snapshot", 5: "pin_request"}


class Void(Exception):
    """The frame is void; the argument is the reason of 4.8."""


class Body:
    """What is left of a body."""

    def __init__(self, data):
        self.data = data

    def take(self, size):
        if len(self.data) < size:
            raise Void("short_body")
        field, self.data = self.data[:size], self.data[size:]
        return field

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def end(self):
        if self.data:
            raise Void("trailing_bytes")

    def extensions(self):
        """4.1: type and value of each."""
        found = []
        while self.data:
            if len(self.data) < 2 or len(self.data) < 2 + self.data[1]:
                raise Void("bad_extension")
            found.append((self.data[0], self.data[2:2 + self.data[1]]))
            self.data = self.data[2 + self.data[1]:]
        return found


def decode(payload, cluster, keys):
    """4.1: the fields of a payload, or Void."""
    if len(payload) < MIN_FRAME:
        raise Void("truncated")
    if len(payload) > MAX_FRAME:
        raise Void("oversized")
    magic, version, kind, its_cluster, length = struct.unpack(">2sBBHH", payload[:8])
    if magic != b"NL":
        raise Void("bad_magic")
    if version != 1:
        raise Void("other_version")
    if its_cluster != cluster:
        raise Void("other_cluster")
    if length < MIN_FRAME:
        raise Void("bad_length")
    if length > MAX_FRAME:
        raise Void("oversized")
    if length > len(payload):
        raise Void("truncated")
    signed, tag = payload[:length - TAG_LEN], payload[length - TAG_LEN:length]
    key = next((key for key in keys if hmac.compare_digest(make_tag(key, signed), tag)), None)
    if key is None:
        raise Void("bad_tag")
    if kind not in TYPES:
        raise Void("unknown_type")
    node, incarnation, sequence = struct.unpack(">QQQ", payload[8:32])
    if incarnation == 0:
        raise Void("zero_incarnation")
    if sequence == 0:
        raise Void("zero_sequence")
    fields = {
        "type": TYPES[kind],
        "cluster": cluster,
        "node": node,
        "incarnation": incarnation,
        "sequence": sequence,
    }
    DECODERS[TYPES[kind]](Body(signed[HEADER_LEN:]), fields, key)
    return fields


def decode_heartbeat(body, fields, key):
    """4.3"""
    fields["epoch"] = body.number(8)
    fields["digest"] = body.number(8)
    fields["pin_version"] = body.number(8)
    fields["weight"] = body.number(2)
    fields["hold_ms"] = body.number(2)
    state = body.number(1)
    count = body.number(1)
    sealed = body.number(4)
    health = body.number(1)
    body.number(1)
    fields["accepts"] = body.take(512)
    if state not in STATES:
        raise Void("bad_state")
    if fields["weight"] == 0:
        raise Void("zero_weight")
    if count > MAX_PEERS:
        raise Void("too_many_peers")
    peers = [(body.number(8), body.number(4), body.number(2)) for _ in range(count)]
    ids = [peer[0] for peer in peers]
    if any(a >= b for a, b in zip(ids, ids[1:])):
        raise Void("unsorted_peers")
    if fields["node"] in ids:
        raise Void("own_id_among_peers")
    body.extensions()
    fields["state"] = STATES[state]
    fields["health"] = HEALTHS.get(health, "unknown")
    fields["peers"] = peers
    header = (fields[name] for name in ("cluster", "node", "incarnation", "sequence"))
    fields["seed"] = seal(key, *header, sealed)


def decode_text(body, bound):
    """4.4"""
    size = body.number(1)
    if size > bound:
        raise Void("long_text")
    try:
        text = body.take(size).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Void("bad_text") from None
    if any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in text):
        raise Void("bad_text")
    return text


def decode_information(body, fields, _key):
    """4.4"""
    fields["name"] = decode_text(body, MAX_NAME)
    fields["software"] = decode_text(body, MAX_SOFTWARE)
    fields["measure"] = body.number(1)
    fields["load"] = body.number(2)
    told = [value for kind, value in body.extensions() if kind == 1 and len(value) >= 28]
    if told:
        fields["settings"] = decode_settings(told[0])


def decode_settings(value):
    """4.4.1"""
    heartbeat, dead_after, mode, _, mac, *names = struct.unpack(">IIBB6sIII", value[:28])
    return {
        "heartbeat_ms": heartbeat, "dead_after_ms": dead_after, "mode": mode,
        "mac": mac.hex(":"), **dict(zip(("addresses", "ports", "keys"), names))}


def addresses_digest(addresses):
    """4.4.1: of addresses as text."""
    data = {ipaddress.ip_address(address).packed for address in addresses}
    text = b"".join(bytes([len(one)]) + one for one in sorted(data, key=lambda d: (len(d), d)))
    return int.from_bytes(hashlib.sha256(b"nlbd addresses 1" + text).digest()[:4], "big")


def ports_digest(ports):
    """4.4.1: of pairs of protocol and port."""
    text = b"".join(struct.pack(">BH", *port) for port in sorted({tuple(port) for port in ports}))
    return int.from_bytes(hashlib.sha256(b"nlbd ports 1" + text).digest()[:4], "big")


def decode_pin_delta(body, fields, _key):
    """4.5"""
    first = body.number(8)
    count = body.number(2)
    if count == 0:
        raise Void("no_entries")
    if first == 0 or first + count - 1 > M64:
        raise Void("bad_pin_version")
    last = {4: bytes(4), 16: bytes(16)}
    entries = [decode_entry(body, last) for _ in range(count)]
    body.end()
    fields["first"] = first
    fields["entries"] = entries


def decode_entry(body, last):
    """4.5: one entry; `last` holds the last address of either length."""
    shared, kind = divmod(body.number(1), 8)
    if kind not in ENTRIES:
        raise Void("bad_pin_kind")
    word, size = ENTRIES[kind]
    if shared > (0 if word == "answered" else size):
        raise Void("bad_pin_kind")
    if word == "answered":
        return word, body.number(8)
    last[size] = last[size][:shared] + body.take(size - shared)
    return word, ipaddress.ip_address(last[size])


def decode_address(body, allowed):
    """4.6, 4.7: a kind and the address that it stands for, if one."""
    kind = body.number(1)
    if kind not in allowed:
        raise Void("bad_pin_kind")
    return ipaddress.ip_address(body.take(ENTRIES[kind][1])) if kind in (1, 2) else kind


def place(address):
    """4.6: the order of addresses."""
    return (address.version, address.packed)


ENTRIES = {1: ("pin", 4), 2: ("pin", 16), 3: ("unpin", 4), 4: ("unpin", 16), 5: ("answered", 8)}


def decode_pin_snapshot(body, fields, _key):
    """4.6"""
    fields["version"] = body.number(8)
    fields["memory"] = body.number(8)
    first = decode_address(body, (1, 2))
    until = decode_address(body, (0, 1, 2)) or None
    count = body.number(2)
    last = {4: bytes(4), 16: bytes(16)}
    clients = []
    for _ in range(count):
        if body.data and body.data[0] % 8 not in (1, 2):
            raise Void("bad_pin_kind")
        clients.append(decode_entry(body, last)[1])
    body.end()
    places = [place(client) for client in clients]
    if (fields["memory"] > fields["version"]
            or until is not None and place(until) <= place(first)
            or any(at < place(first) for at in places)
            or until is not None and any(at >= place(until) for at in places)
            or any(a >= b for a, b in zip(places, places[1:]))):
        raise Void("bad_part")
    fields.update({"from": first, "until": until, "clients": clients})


def decode_pin_request(body, fields, _key):
    """4.7"""
    fields["owner"] = body.number(8)
    fields["owner_incarnation"] = body.number(8)
    fields["after"] = body.number(8)
    want = decode_address(body, (0, 1, 2, 6))
    fields["want"] = {0: "nothing", 6: "deltas"}.get(want) or ["snapshot", want]
    if fields["owner_incarnation"] == 0:
        raise Void("zero_incarnation")
    body.end()


DECODERS = {
    "heartbeat": decode_heartbeat,
    "information": decode_information,
    "pin_delta": decode_pin_delta,
    "pin_snapshot": decode_pin_snapshot,
    "pin_request": decode_pin_request,
}


def encode(fields, key):
    """The frame that says these fields, signed with this key."""
    kind = next(code for code, name in TYPES.items() if name == fields["type"])
    body = ENCODERS[fields["type"]](fields, key)
    header = struct.pack(
        ">2sBBHHQQQ", b"NL", 1, kind, fields["cluster"], HEADER_LEN + len(body) + TAG_LEN,
        fields["node"], fields["incarnation"], fields["sequence"])
    return header + body + make_tag(key, header + body)


def encode_heartbeat(f, key):
    sealed = seal(key, f["cluster"], f["node"], f["incarnation"], f["sequence"], f["seed"])
    state = next(code for code, name in STATES.items() if name == f["state"])
    health = next(code for code, name in HEALTHS.items() if name == f["health"])
    fixed = struct.pack(
        ">QQQHHBBIBB", f["epoch"], f["digest"], f["pin_version"], f["weight"], f["hold_ms"], state,
        len(f["peers"]), sealed, health, 0)
    return fixed + f["accepts"] + b"".join(struct.pack(">QIH", *peer) for peer in f["peers"])


def encode_information(f, _key):
    texts = (f["name"].encode(), f["software"].encode())
    load = struct.pack(">BH", f["measure"], f["load"])
    body = b"".join(bytes([len(text)]) + text for text in texts) + load
    if "settings" in f:
        told = f["settings"]
        value = struct.pack(
            ">IIBB6sIII", told["heartbeat_ms"], told["dead_after_ms"], told["mode"], 0,
            bytes.fromhex(told["mac"].replace(":", "")), told["addresses"], told["ports"],
            told["keys"])
        body += bytes([1, len(value)]) + value
    return body


def encode_client(word, client, last):
    data = client.packed
    kind = next(k for k, entry in ENTRIES.items() if entry == (word, len(data)))
    before = last[len(data)]
    shared = next((i for i in range(len(data)) if before[i] != data[i]), len(data))
    last[len(data)] = data
    return bytes([kind + 8 * shared]) + data[shared:]


def encode_address(address):
    return bytes([{4: 1, 6: 2}[address.version]]) + address.packed if address else b"\0"


def encode_pin_delta(f, _key):
    body = struct.pack(">QH", f["first"], len(f["entries"]))
    last = {4: bytes(4), 16: bytes(16)}
    for word, value in f["entries"]:
        if word == "answered":
            body += struct.pack(">BQ", 5, value)
        else:
            body += encode_client(word, value, last)
    return body


def encode_pin_snapshot(f, _key):
    body = struct.pack(">QQ", f["version"], f["memory"])
    body += encode_address(f["from"]) + encode_address(f["until"])
    last = {4: bytes(4), 16: bytes(16)}
    clients = b"".join(encode_client("pin", client, last) for client in f["clients"])
    return body + struct.pack(">H", len(f["clients"])) + clients


def encode_pin_request(f, _key):
    want = {"nothing": b"\0", "deltas": b"\6"}.get(str(f["want"])) or encode_address(f["want"][1])
    return struct.pack(">QQQ", f["owner"], f["owner_incarnation"], f["after"]) + want


ENCODERS = {
    "heartbeat": encode_heartbeat,
    "information": encode_information,
    "pin_delta": encode_pin_delta,
    "pin_snapshot": encode_pin_snapshot,
    "pin_request": encode_pin_request,
}
