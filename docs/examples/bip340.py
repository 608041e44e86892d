"""Verification of Schnorr signatures over secp256k1 as BIP 340 specifies it: slow, and for public data only."""

import hashlib

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def tagged_hash(tag, data):
    tag = hashlib.sha256(tag).digest()
    return hashlib.sha256(tag + tag + data).digest()


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and a[1] != b[1]:
        return None
    slope = 3 * a[0] ** 2 * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k, point):
    result = None
    while k:
        result, point, k = add(result, point) if k & 1 else result, add(point, point), k >> 1
    return result


def verify(public_key, message, signature):
    """Whether `signature` (64 bytes) is that of `public_key` (32 bytes, x-only) for `message`."""
    x, r, s = (int.from_bytes(part, "big") for part in (public_key, signature[:32], signature[32:]))
    square = (pow(x, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if x >= P or r >= P or s >= N or y * y % P != square:
        return False
    y = y if y % 2 == 0 else P - y
    challenge = int.from_bytes(tagged_hash(b"BIP0340/challenge", signature[:32] + public_key + message), "big")
    point = add(times(s, G), times(N - challenge % N, (x, y)))
    return point is not None and point[1] % 2 == 0 and point[0] == r
