"""Checks stats_codec.py against every vector in docs/vectors.json, and that docs/PROTOCOL.md shows the same vectors.

With --page it prints that part of the page instead, to be pasted after a vector has changed.
"""

import json
import sys
from pathlib import Path

import stats_codec as codec

DOCS = Path(__file__).resolve().parent.parent


def check(vector):
    """Decodes, encodes and judges what one vector says; raises AssertionError where the codec differs."""
    frame, legacy = bytes.fromhex(vector["frame"]), vector.get("legacy", False)
    try:
        decoded, error = codec.decode(frame, legacy), None
    except codec.Malformed as malformed:
        decoded, error = None, str(malformed)
    if "error" in vector:
        assert (error or "ignored") == vector["error"] and decoded is None, f"read as {decoded or error}"
        return
    appended = vector.get("appended", "")
    assert decoded == (vector["message"], vector["fields"], appended), f"read as {decoded or error}"
    kind = int.from_bytes(frame[:2], "little") & ~codec.CHANNEL_BIT, frame[2]
    written = codec.encode(*kind, vector["fields"], legacy, appended)
    assert written == frame, f"written as {written.hex()}"
    if proof := vector.get("proof"):
        fields, handshake = vector["fields"], (bytes.fromhex(proof[end]) for end in ("first", "second"))
        holds = codec.proof_holds(fields["public_key"], fields["signature"], *handshake)
        assert holds == proof["holds"], f"the proof {'holds' if holds else 'fails'}"


def lines_of(fields):
    """The fields as text, one line for all that is no list of units, and one for each unit."""
    units = [value for value in fields.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    yield ", ".join(f"{name} {text_of(value)}" for name, value in fields.items())
    for unit in (unit for units in units for unit in units):
        yield from ("  " + line for line in lines_of(unit))


def text_of(value):
    """One field: texts and bytes in quotes, numbers as they are."""
    if isinstance(value, list):
        return "[" + ", ".join(map(item_of, value)) + "]"
    if value is None:
        return "none"
    return str(value) if isinstance(value, int) or value.isdecimal() else json.dumps(value, ensure_ascii=False)


def item_of(value):
    """One element of a list: a unit has lines of its own, and the number of an extension is written in hex."""
    if isinstance(value, dict):
        return "…"
    return json.dumps(value) if isinstance(value, str) else f"0x{value:04X}"


def shown(vector):
    """What the page says of one vector."""
    title = f"**`{vector['name']}`** {vector['message'] or 'unknown'}, {vector['direction']}. {vector['about']}"
    meaning = list(lines_of(vector["fields"])) if "fields" in vector else [f"error {vector['error']}"]
    if vector.get("legacy"):
        meaning.append("(between peers that have not negotiated 0x4D51)")
    if "appended" in vector:
        meaning.append(f"(appended: {vector['appended']})")
    if proof := vector.get("proof"):
        verdict = "holds" if proof["holds"] else "fails"
        meaning.append(f"(handshake messages {proof['first']} and {proof['second']}: the proof {verdict})")
    return "\n".join([title, "```text", vector["frame"], *meaning, "```"])


def main():
    vectors = json.loads((DOCS / "vectors.json").read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--page"]:
        print("\n\n".join(map(shown, vectors)))
        return
    page = (DOCS / "PROTOCOL.md").read_text(encoding="utf-8")
    failures = []
    for vector in vectors:
        try:
            check(vector)
        except AssertionError as failure:
            failures.append(f"{vector['name']}: {failure}")
        if shown(vector) not in page:
            failures.append(f"{vector['name']}: PROTOCOL.md does not show it so; see --page")
    if not vectors or failures:
        sys.exit("\n".join(["the vectors in docs/vectors.json do not hold:", *failures]))
    print(f"{len(vectors)} vectors hold, and docs/PROTOCOL.md shows them")


if __name__ == "__main__":
    main()
