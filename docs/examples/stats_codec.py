"""The messages between an ehash mint and a pool, read and written as docs/PROTOCOL.md lays them out.

Written from that page alone, with nothing but the standard library: an example for implementers, and a second
opinion on the page and on the Rust code. `decode` and `encode` take and give whole frames in the clear; numbers up to
32 bits are `int`, U64 are decimal strings, bytes are hex. `proof_holds` is how a pool judges a MintProof.
"""

import hashlib

from bip340 import tagged_hash, verify

STATS, PROOF, QUOTES = 0x4D53, 0x4D50, 0x4D51
MAX_FRAME, CHANNEL_BIT = 65_536, 0x8000

UNIT_STATS = [("unit", "STR0_255")] + [
    (name, "U64")
    for name in (
        "quotes_unpaid", "quotes_paid", "quotes_issued",
        "amount_unpaid", "amount_paid", "amount_issued", "last_issued_at_ms",
    )
]

# (extension, type): (name, channel bit, fields)
MESSAGES = {
    (0, 0x00): ("SetupConnection", False, [
        ("protocol", "U8"), ("min_version", "U16"), ("max_version", "U16"), ("flags", "U32"),
        ("endpoint_host", "STR0_255"), ("endpoint_port", "U16"), ("vendor", "STR0_255"),
        ("hardware_version", "STR0_255"), ("firmware", "STR0_255"), ("device_id", "STR0_255"),
    ]),
    (0, 0x01): ("SetupConnection.Success", False, [("used_version", "U16"), ("flags", "U32")]),
    (0, 0x02): ("SetupConnection.Error", False, [("flags", "U32"), ("error_code", "STR0_255")]),
    (1, 0x00): ("RequestExtensions", False, [("request_id", "U16"), ("requested_extensions", "SEQ0_64K[U16]")]),
    (1, 0x01): ("RequestExtensions.Success", False, [("request_id", "U16"), ("supported_extensions", "SEQ0_64K[U16]")]),
    (1, 0x02): ("RequestExtensions.Error", False, [
        ("request_id", "U16"), ("unsupported_extensions", "SEQ0_64K[U16]"), ("required_extensions", "SEQ0_64K[U16]"),
    ]),
    (3, 0x80): ("MintQuoteRequest", True, [
        ("amount", "U64"), ("unit", "STR0_255"), ("header_hash", "U256"),
        ("description", "OPTION[STR0_255]"), ("locking_key", "B0_255"),
    ]),
    (3, 0x81): ("MintQuoteResponse", True, [("quote_id", "STR0_255"), ("header_hash", "U256")]),
    (3, 0x82): ("MintQuoteError", True, [("error_code", "U32"), ("error_message", "STR0_255"), ("header_hash", "HASH")]),
    (STATS, 0x83): ("MintStatsRequest", False, [("request_id", "U32")]),
    (STATS, 0x84): ("MintStatsResponse", False, [
        ("request_id", "U32"), ("reason", "U8"), ("run_id", "U64"), ("sequence", "U64"), ("taken_at_ms", "U64"),
        ("interval_ms", "U32"), ("total_quotes_issued", "U64"), ("total_ehash_issued", "U64"),
        ("quotes_unpaid", "U64"), ("quotes_paid", "U64"), ("quotes_issued", "U64"),
        ("amount_unpaid", "U64"), ("amount_paid", "U64"), ("units_total", "U16"), ("units", "SEQ0_255[UnitStats]"),
    ]),
    (PROOF, 0x85): ("MintProof", False, [("public_key", "PUBKEY"), ("signature", "SIGNATURE")]),
    (QUOTES, 0x86): ("MintQuotesIssued", False, [("header_hashes", "SEQ0_255[U256]")]),
    (QUOTES, 0xC0): ("MintQuoteNotification", True, [("channel_id", "U32"), ("quote_id", "STR0_255"), ("amount", "U64")]),
}
MESSAGES[0, 0xC0] = MESSAGES[QUOTES, 0xC0]

UINTS = {"U8": 1, "U16": 2, "U32": 4, "U64": 8}
BYTES = {"U256": 32, "PUBKEY": 32, "SIGNATURE": 64}
RULES = {
    ("MintStatsRequest", "request_id"): (lambda value: value > 0, "zero_request_id"),
    ("MintStatsResponse", "reason"): (lambda value: value <= 4, "unknown_reason"),
    ("MintStatsResponse", "interval_ms"): (lambda value: 100 <= value <= 3_600_000, "interval"),
}


class Malformed(Exception):
    """The message is counted and dropped, for this reason."""


class Reader:
    def __init__(self, payload):
        self.rest = payload

    def take(self, count):
        if len(self.rest) < count:
            raise Malformed("truncated")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def uint(self, size):
        return int.from_bytes(self.take(size), "little")

    def value(self, kind):
        if kind in UINTS:
            number = self.uint(UINTS[kind])
            return str(number) if kind == "U64" else number
        if kind in BYTES:
            return self.take(BYTES[kind]).hex()
        if kind == "HASH":  # Appended by extension 0x4D51; a mint that has not heard of it yet leaves it out.
            return self.take(32).hex() if len(self.rest) >= 32 else None
        if kind == "B0_255":
            return self.take(self.uint(1)).hex()
        if kind == "STR0_255":
            try:
                return self.take(self.uint(1)).decode("utf-8")
            except UnicodeDecodeError:
                raise Malformed("not_utf8") from None
        if kind == "UnitStats":
            return {name: self.value(kind) for name, kind in UNIT_STATS}
        if kind.startswith("OPTION["):
            return self.value(kind[7:-1]) if self.uint(1) else None
        prefix, element = kind[:-1].split("[")
        return [self.value(element) for _ in range(self.uint(2 if prefix == "SEQ0_64K" else 1))]


def write(kind, value):
    if kind in UINTS:
        return int(value).to_bytes(UINTS[kind], "little")
    if kind in BYTES or kind == "HASH":
        return bytes.fromhex(value or "")
    if kind in ("B0_255", "STR0_255"):
        data = bytes.fromhex(value) if kind == "B0_255" else value.encode("utf-8")
        return bytes([len(data)]) + data
    if kind == "UnitStats":
        return b"".join(write(kind, value[name]) for name, kind in UNIT_STATS)
    if kind.startswith("OPTION["):
        return b"\0" if value is None else b"\1" + write(kind[7:-1], value)
    prefix, element = kind[:-1].split("[")
    return len(value).to_bytes(2 if prefix == "SEQ0_64K" else 1, "little") + b"".join(write(element, v) for v in value)


def fields_of(fields, legacy):
    """Between peers that have not negotiated 0x4D51 a refusal ends with its message."""
    return [(name, kind) for name, kind in fields if not (legacy and kind == "HASH")]


def decode(frame, legacy=False):
    """The message's name, its fields, and what a later version may have appended. `None` for what is to be ignored."""
    extension, msg_type = int.from_bytes(frame[:2], "little") & ~CHANNEL_BIT, frame[2]
    if len(frame) > MAX_FRAME or len(frame) != 6 + int.from_bytes(frame[3:6], "little"):
        raise ValueError("not one whole frame within 64 KiB")
    if (extension, msg_type) not in MESSAGES:
        return None
    name, _, layout = MESSAGES[extension, msg_type]
    reader, fields = Reader(frame[6:]), {}
    for field, kind in fields_of(layout, legacy):
        fields[field] = reader.value(kind)
    for field, value in fields.items():
        allowed, reason = RULES.get((name, field), (lambda _: True, None))
        if not allowed(value):
            raise Malformed(reason)
    return name, fields, reader.rest.hex()


def encode(extension, msg_type, fields, legacy=False, appended=""):
    """The frame that carries these fields."""
    _, channel, layout = MESSAGES[extension, msg_type]
    payload = b"".join(write(kind, fields[name]) for name, kind in fields_of(layout, legacy)) + bytes.fromhex(appended)
    header = (extension | (CHANNEL_BIT if channel else 0)).to_bytes(2, "little") + bytes([msg_type])
    return header + len(payload).to_bytes(3, "little") + payload


def proof_holds(public_key, signature, first, second):
    """Whether the holder of `public_key` signed the connection that these two handshake messages made."""
    message = tagged_hash(b"ehash/mint-proof/v1", hashlib.sha256(first + second).digest())
    return verify(bytes.fromhex(public_key), message, bytes.fromhex(signature))
