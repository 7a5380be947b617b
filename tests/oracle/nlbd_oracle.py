"""An independent reading of protocol-spec/SPEC.md, chapters 2 to 5.

Written from the text of the specification, in plain Python with nothing but the standard library;
it shares no code with the Rust crate and is as slow as it is plain. Section numbers below are those
of SPEC.md. What the crate and this module both say is what the specification says.
"""

import hashlib
import heapq
import hmac
import ipaddress
import struct

# --- 3.1 Limits ---------------------------------------------------------------------------------

BUCKETS = 4096
MAX_NODES = 64
MAX_PEERS = 63
MAX_FRAME = 1500
MIN_FRAME = 48
HEADER_LEN = 32
TAG_LEN = 16
MAX_NAME = 64
MAX_SOFTWARE = 32
MAX_KEYS = 4

M32 = 0xFFFF_FFFF
M64 = 0xFFFF_FFFF_FFFF_FFFF


# --- 2 On the wire ------------------------------------------------------------------------------

def mac(*numbers):
    return ":".join(f"{number:02x}" for number in numbers)


def cluster_addresses(cluster):
    """2.2, 2.3: every Ethernet address that derives from a cluster id."""
    high, low = cluster >> 8, cluster & 0xFF
    return {
        "unicast": mac(0x02, 0x4E, 0x4C, 0x42, high, low),
        "multicast": mac(0x03, 0x4E, 0x4C, 0x42, high, low),
        "igmp": mac(0x01, 0x00, 0x5E, 0x7F, high, low),
        "group": f"239.255.{high}.{low}",
        "heartbeats": mac(0x03, 0x4E, 0x4C, 0x48, high, low),
    }


# --- 3.2 The client hash ------------------------------------------------------------------------

def rol(x, n):
    return ((x << n) | (x >> (32 - n))) & M32


def jhash_mix(a, b, c):
    a = (a - c) & M32
    a ^= rol(c, 4)
    c = (c + b) & M32
    b = (b - a) & M32
    b ^= rol(a, 6)
    a = (a + c) & M32
    c = (c - b) & M32
    c ^= rol(b, 8)
    b = (b + a) & M32
    a = (a - c) & M32
    a ^= rol(c, 16)
    c = (c + b) & M32
    b = (b - a) & M32
    b ^= rol(a, 19)
    a = (a + c) & M32
    c = (c - b) & M32
    c ^= rol(b, 4)
    b = (b + a) & M32
    return a, b, c


def jhash_final(a, b, c):
    c ^= b
    c = (c - rol(b, 14)) & M32
    a ^= c
    a = (a - rol(c, 11)) & M32
    b ^= a
    b = (b - rol(a, 25)) & M32
    c ^= b
    c = (c - rol(b, 16)) & M32
    a ^= c
    a = (a - rol(c, 4)) & M32
    b ^= a
    b = (b - rol(a, 14)) & M32
    c ^= b
    c = (c - rol(b, 24)) & M32
    return c


def jhash(data, seed):
    a = b = c = (0xDEADBEEF + len(data) + seed) & M32
    while len(data) > 12:
        x, y, z = struct.unpack("<III", data[:12])
        a, b, c = jhash_mix((a + x) & M32, (b + y) & M32, (c + z) & M32)
        data = data[12:]
    if not data:
        return c
    x, y, z = struct.unpack("<III", data.ljust(12, b"\0"))
    return jhash_final((a + x) & M32, (b + y) & M32, (c + z) & M32)


def client_hash(address, seed):
    return jhash(ipaddress.ip_address(address).packed, seed)


def scale(hash_):
    return (hash_ * BUCKETS) >> 32


# --- 3.3 The table ------------------------------------------------------------------------------

GOLDEN = 0x9E3779B97F4A7C15


def view(members):
    """Each id once, of several entries the last; rising ids; the lowest MAX_NODES of them."""
    return sorted(dict(members).items())[:MAX_NODES]


def quotas(members):
    """3.3.1"""
    shares = [(1 << 48) // weight for _, weight in members]
    total = sum(shares)
    quota = [share * BUCKETS // total for share in shares]
    rest = [share * BUCKETS % total for share in shares]
    left = BUCKETS - sum(quota)
    order = sorted(range(len(members)), key=lambda i: (-rest[i], members[i][0]))
    for i in order[:left]:
        quota[i] += 1
    return quota


def mix64(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def node_costs(node, weight):
    """3.3.2: the cost of every bucket for one node."""
    key = mix64((node + GOLDEN) & M64)

    def stream(i):
        return mix64((key + GOLDEN * (i + 1)) & M64)

    rounds = [stream(i) for i in range(4)]
    costs = []
    for bucket in range(BUCKETS):
        x = bucket
        for k in rounds:
            f = k % 4096
            if f % 2 == 0:
                f += 1
            x = (x * f + (k >> 32)) % 4096
            x ^= x >> 6
        d = (x << 52) + (stream(4 + bucket) >> 12)
        if d % 2 == 0:
            d += 1
        z = 64 - d.bit_length()
        # The bits behind the highest one, brought to 32 by cutting or by zeros.
        behind = d.bit_length() - 1
        tail = d - (1 << behind)
        m = tail >> (behind - 32) if behind >= 32 else tail << (32 - behind)
        p = (m * ((1 << 32) - m)) >> 32
        e = ((z + 1) << 32) - m - ((p * 88) >> 8)
        costs.append(e * weight)
    return costs


def costs_of(members, cache):
    """The costs of every bucket for each member; `cache` keeps what depends on the id alone."""
    for node, _ in members:
        if node not in cache:
            cache[node] = node_costs(node, 1)
    return [[e * weight for e in cache[node]] for node, weight in members]


def table_by_pairs(members, cache):
    """3.3.3, the second method: the pairs bind in rising order of cost, node id, bucket."""
    members = view(members)
    costs = costs_of(members, cache)
    pairs = sorted((costs[i][b], i, b) for i in range(len(members)) for b in range(BUCKETS))
    room = quotas(members)
    owner = [None] * BUCKETS
    for _, i, bucket in pairs:
        if owner[bucket] is None and room[i]:
            owner[bucket] = members[i][0]
            room[i] -= 1
    return owner


def table(members, cache):
    """3.3.3, the first method: deferred acceptance."""
    members = view(members)
    costs = costs_of(members, cache)
    quota = quotas(members)
    kept = [[] for _ in members]  # heaps, the dearest bucket on top
    preference = {}  # of buckets that were sent on: whom they have still to ask, the last first
    for first, row in enumerate(zip(*costs)):
        bucket, i = first, row.index(min(row))
        while True:
            heapq.heappush(kept[i], (-costs[i][bucket], -bucket))
            if len(kept[i]) <= quota[i]:
                break
            bucket = -heapq.heappop(kept[i])[1]
            if bucket not in preference:
                order = sorted((costs[j][bucket], j) for j in range(len(members)))
                preference[bucket] = [j for _, j in reversed(order)]
                preference[bucket].pop()
            i = preference[bucket].pop()
    owner = [None] * BUCKETS
    for (node, _), heap in zip(members, kept):
        for _, bucket in heap:
            owner[-bucket] = node
    return owner


# --- 3.4 The digest -----------------------------------------------------------------------------

def digest(seed, members):
    members = view(members)
    text = b"nlbd view 1" + struct.pack(">IB", seed, len(members))
    for node, weight in members:
        text += struct.pack(">QH", node, weight)
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


# --- 5 Trust ------------------------------------------------------------------------------------

INSECURE_KEY = b"nlbd insecure: no authentication"


def hmac_sha256(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def make_tag(key, text):
    """5.2"""
    return hmac_sha256(key, text)[:TAG_LEN]


def proposed_seed(key, cluster):
    """5.5"""
    text = b"nlbd hash seed 1" + struct.pack(">H", cluster)
    return int.from_bytes(hmac_sha256(key, text)[:4], "big")


def seal(key, cluster, node, incarnation, sequence, seed):
    """5.5: seals and opens."""
    text = b"nlbd seed seal 1" + struct.pack(">HQQQ", cluster, node, incarnation, sequence)
    return seed ^ int.from_bytes(hmac_sha256(key, text)[:4], "big")


def fingerprint(cluster, seed, data):
    """5.6"""
    key = b"nlbd fingerprint 1" + struct.pack(">HI", cluster, seed)
    return int.from_bytes(hmac_sha256(key, data)[:8], "big")


# --- 4 Frames -----------------------------------------------------------------------------------

STATES = {1: "joining", 2: "active", 3: "draining", 4: "fenced", 5: "leaving", 6: "restarting"}
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
        while self.data:
            if len(self.data) < 2 or len(self.data) < 2 + self.data[1]:
                raise Void("bad_extension")
            self.data = self.data[2 + self.data[1]:]


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
    body.number(2)
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
    body.extensions()


def decode_pin_delta(body, fields, _key):
    """4.5"""
    first = body.number(8)
    count = body.number(2)
    if count == 0:
        raise Void("no_entries")
    if first == 0 or first + count - 1 > M64:
        raise Void("bad_pin_version")
    entries = []
    for _ in range(count):
        kind = body.number(1)
        if kind not in ENTRIES:
            raise Void("bad_pin_kind")
        word, size = ENTRIES[kind]
        data = body.take(size)
        value = int.from_bytes(data, "big") if word == "answered" else ipaddress.ip_address(data)
        entries.append((word, value))
    body.end()
    fields["first"] = first
    fields["entries"] = entries


ENTRIES = {1: ("pin", 4), 2: ("pin", 16), 3: ("unpin", 4), 4: ("unpin", 16), 5: ("answered", 8)}


def decode_pin_snapshot(body, fields, _key):
    """4.6"""
    fields["version"] = body.number(8)
    fields["part"] = body.number(2)
    fields["parts"] = body.number(2)
    count = body.number(2)
    if fields["part"] >= fields["parts"]:
        raise Void("bad_part")
    fields["clients"] = []
    for _ in range(count):
        kind = body.number(1)
        if kind not in (1, 2):
            raise Void("bad_pin_kind")
        fields["clients"].append(ipaddress.ip_address(body.take(ENTRIES[kind][1])))
    body.end()


def decode_pin_request(body, fields, _key):
    """4.7"""
    fields["owner"] = body.number(8)
    fields["owner_incarnation"] = body.number(8)
    fields["after"] = body.number(8)
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
    fixed = struct.pack(
        ">QQQHHBBIH", f["epoch"], f["digest"], f["pin_version"], f["weight"], f["hold_ms"], state,
        len(f["peers"]), sealed, 0)
    return fixed + f["accepts"] + b"".join(struct.pack(">QIH", *peer) for peer in f["peers"])


def encode_information(f, _key):
    texts = (f["name"].encode(), f["software"].encode())
    return b"".join(bytes([len(text)]) + text for text in texts)


def encode_client(word, client):
    kind = next(k for k, entry in ENTRIES.items() if entry == (word, len(client.packed)))
    return bytes([kind]) + client.packed


def encode_pin_delta(f, _key):
    body = struct.pack(">QH", f["first"], len(f["entries"]))
    for word, value in f["entries"]:
        if word == "answered":
            body += struct.pack(">BQ", 5, value)
        else:
            body += encode_client(word, value)
    return body


def encode_pin_snapshot(f, _key):
    body = struct.pack(">QHHH", f["version"], f["part"], f["parts"], len(f["clients"]))
    return body + b"".join(encode_client("pin", client) for client in f["clients"])


def encode_pin_request(f, _key):
    return struct.pack(">QQQ", f["owner"], f["owner_incarnation"], f["after"])


ENCODERS = {
    "heartbeat": encode_heartbeat,
    "information": encode_information,
    "pin_delta": encode_pin_delta,
    "pin_snapshot": encode_pin_snapshot,
    "pin_request": encode_pin_request,
}
