#!/usr/bin/env python3
"""Makes the vectors of this folder, with nothing but the standard library and openssl: a checkpoint cosigned by two witnesses as C2SP tlog-cosignature
says, a policy that they meet, files with two checkpoints of one ledger (`*.fork`), and policies that C2SP tlog-policy does not allow (`refused-*`). The same bytes every time.

Seeds of the keys: 32 times the number given. Witnesses cosign at 1795312800 (2026-11-22T02:00:00Z)."""

import base64
import hashlib
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
SECONDS = 1795312800
LOG, W1, W2, W3 = ("truc/dev/ordinary/N-H26/1", 2), ("truc/dev/ordinary/R1/1", 4), ("truc/dev/ordinary/N-G22/1", 1), ("truc/dev/ordinary/N-H37/1", 3)


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


def pkcs8(seed):
    return bytes.fromhex("302e020100300506032b657004220420") + bytes([seed]) * 32


def public(seed):
    with tempfile.NamedTemporaryFile() as key:
        key.write(pkcs8(seed)), key.flush()
        return openssl("pkey", "-inform", "DER", "-in", key.name, "-pubout", "-outform", "DER")[-32:]


def sign(seed, message):
    with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as text:
        key.write(pkcs8(seed)), key.flush(), text.write(message), text.flush()
        return openssl("pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", key.name, "-in", text.name)


def key_id(name, kind, key):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def vkey(who, kind):
    name, seed = who
    key = public(seed)
    return f"{name}+{key_id(name, kind, key).hex()}+{base64.b64encode(bytes([kind]) + key).decode()}"


def line(name, blob):
    return f"— {name} {base64.b64encode(blob).decode()}\n"


def plain(who, text):
    name, seed = who
    return line(name, key_id(name, 1, public(seed)) + sign(seed, text.encode()))


def cosigned(who, text):
    name, seed = who
    message = f"cosignature/v1\ntime {SECONDS}\n{text}".encode()
    return line(name, key_id(name, 4, public(seed)) + SECONDS.to_bytes(8, "big") + sign(seed, message))


root = base64.b64encode(hashlib.sha256(b"a root").digest()).decode()
text = f"{LOG[0]}\n7\n{root}\n"
note = text + "\n" + plain(LOG, text) + cosigned(W1, text) + cosigned(W2, text)
(HERE / "cosigned.note").write_text(note, encoding="utf-8")

witness = {name: f"witness {name} {vkey(who, 4)}\n" for name, who in [("relay", W1), ("G22", W2), ("H37", W3)]}
three = "".join(witness.values())
def fork(first, second):
    return "truc/fork/1\n" + "".join(base64.b64encode(one.encode()).decode() + "\n" for one in (first, second))


def state(size, what, who=LOG):
    other = f"{LOG[0]}\n{size}\n{base64.b64encode(hashlib.sha256(what).digest()).decode()}\n"
    return other + "\n" + plain(who, other)


(HERE / "two-histories.fork").write_text(fork(note, state(7, b"another root")))
(HERE / "unproven.fork").write_text(fork(note, state(9, b"a later root")))
(HERE / "made-up.fork").write_text(fork(note, state(7, b"another root", (LOG[0], 99))))

good = {
    "one-of-the-relay-or-two-nodes": f"# Chính sách\nlog {vkey(LOG, 1)} https://log.example/\n\n{three}group nodes 2 G22 H37\n\tgroup enough any relay nodes  \nquorum enough",
    "nobody": "quorum none\n",
}
refused = {
    "no-quorum": three,
    "empty": "",
    "carriage-returns": three.replace("\n", "\r\n") + "quorum relay\r\n",
    "two-quorums": three + "quorum relay\nquorum G22\n",
    "quorum-of-nobody-known": "quorum somebody\n",
    "quorum-before-its-witness": "quorum relay\n" + three,
    "quorum-of-two": three + "quorum relay G22\n",
    "quorum-in-capitals": "Quorum none\n",
    "witness-with-a-log-key": f"witness relay {vkey(W1, 1)}\nquorum relay\n",
    "log-with-a-witness-key": f"log {vkey(LOG, 4)}\nquorum none\n",
    "witness-called-none": witness["relay"].replace(" relay ", " none ") + "quorum none\n",
    "name-twice": witness["relay"] + witness["G22"].replace(" G22 ", " relay ") + "quorum relay\n",
    "key-twice": witness["relay"] + witness["relay"].replace(" relay ", " other ") + "quorum relay\n",
    "key-id-of-another": witness["relay"].replace("+" + key_id(W1[0], 4, public(4)).hex() + "+", "+00000000+") + "quorum relay\n",
    "key-too-short": f"witness relay {vkey(W1, 4)[:-4]}\nquorum relay\n",
    "three-words-too-many": witness["relay"].rstrip() + " https://w.example/ more\nquorum relay\n",
    "group-of-nobody": three + "group g any\nquorum g\n",
    "group-of-itself": three + "group g any g\nquorum g\n",
    "group-of-none": three + "group g any none\nquorum g\n",
    "group-with-a-member-twice": three + "group g 2 relay relay\nquorum g\n",
    "member-of-two-groups": three + "group g any relay\ngroup h any relay\nquorum h\n",
    "threshold-zero": three + "group g 0 relay\nquorum g\n",
    "threshold-above-all": three + "group g 4 relay G22 H37\nquorum g\n",
    "threshold-with-a-zero-before": three + "group g 01 relay\nquorum g\n",
    "threshold-with-a-sign": three + "group g +1 relay\nquorum g\n",
    "separated-by-another-space": "quorum\u00a0none\n",
    "a-word-of-ours": "origin truc/dev/ordinary/R1/1\nquorum none\n",
}
for name, content in good.items():
    (HERE / f"{name}.policy").write_bytes(content.encode())
for name, content in refused.items():
    (HERE / f"refused-{name}.policy").write_bytes(content.encode())
(HERE / "refused-not-utf-8.policy").write_bytes(b"# \xff\nquorum none\n")
(HERE / "refused-a-control-character.policy").write_bytes(b"quorum none\x0b\n")
