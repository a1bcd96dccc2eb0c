#!/usr/bin/env python3
"""Makes the test vectors of docs/FORMATS.md with the Python standard library and the openssl program alone.

It shares no code with the product: what it writes is what an independent reader of FORMATS.md would write.
Run it in an empty folder to make a fresh set: python3 make_vectors.py OUT
"""
import base64, datetime, hashlib, json, os, struct, subprocess, sys

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
path = lambda name: os.path.join(out, name)
b64 = lambda b: base64.b64encode(b).decode()
sha = lambda b: hashlib.sha256(b).digest()
hexsha = lambda b: hashlib.sha256(b).hexdigest()


def run(*args, data=None):
    done = subprocess.run(args, input=data, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(args)}\n{done.stderr.decode()}")
    return done.stdout


def save(name, data):
    with open(path(name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return data


def load(name):
    with open(path(name), "rb") as f:
        return f.read()


def jcs(value):  # RFC 8785 for what the statements hold: ASCII names, strings, integers, booleans, arrays, objects
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def statement(name, /, **fields):
    return jcs({"type": name, "v": 1, **fields})


# --- RFC 6962 ---------------------------------------------------------------------------------------------------
leaf_hash = lambda b: sha(b"\0" + b)
node_hash = lambda l, r: sha(b"\1" + l + r)


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root(hashes):
    if not hashes:
        return sha(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return node_hash(root(hashes[:k]), root(hashes[k:]))


def inclusion(index, hashes):
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if index < k:
        return inclusion(index, hashes[:k]) + [root(hashes[k:])]
    return inclusion(index - k, hashes[k:]) + [root(hashes[:k])]


# --- certificates -----------------------------------------------------------------------------------------------
def key(name, kind):
    if kind == "rsa2048":
        run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path(name + ".key.pem"))
    elif kind == "p256":
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path(name + ".key.pem"))
    else:
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", path(name + ".key.pem"))


def certificate(name, kind, subject, extensions, issuer=None):
    key(name, kind)
    conf = path(name + ".cnf")
    save(name + ".cnf", "[v3]\n" + extensions + "\nsubjectKeyIdentifier=hash\n" + ("authorityKeyIdentifier=keyid\n" if issuer else ""))
    request = run("openssl", "req", "-new", "-utf8", "-key", path(name + ".key.pem"), "-subj", subject, "-sha256")
    sign = ["-signkey", path(name + ".key.pem")] if not issuer else ["-CA", path(issuer + ".pem"), "-CAkey", path(issuer + ".key.pem")]
    serial = "0x" + os.urandom(15).hex()
    run("openssl", "x509", "-req", "-days", "36500", "-sha256", "-set_serial", serial, "-extfile", conf, "-extensions", "v3",
        "-out", path(name + ".pem"), *sign, data=request)
    os.remove(conf)
    return run("openssl", "x509", "-in", path(name + ".pem"), "-outform", "DER")


CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign"
certificate("root", "p256", "/C=VN/O=Ban Cơ yếu Chính phủ DEV/CN=RootCA DEV", CA)
certificate("sub", "p256", "/C=VN/O=Ban Cơ yếu Chính phủ DEV/CN=CA DEV", CA, "root")
END = "basicConstraints=critical,CA:FALSE\n"
SIGN = END + "keyUsage=critical,digitalSignature,nonRepudiation\nextendedKeyUsage=emailProtection"
ders = {
    "operator": certificate("operator", "p256", "/C=VN/O=Trục DEV/CN=Đơn vị vận hành trục DEV", SIGN, "sub"),
    "node": certificate("node", "p256", "/C=VN/O=Văn phòng Chính phủ DEV/CN=N-G22 DEV", END + "keyUsage=critical,digitalSignature", "sub"),
    "service": certificate("service", "rsa2048", "/C=VN/L=Hà Nội/O=Văn phòng Chính phủ DEV/CN=VĂN PHÒNG CHÍNH PHỦ DEV", SIGN, "sub"),
    "sealing-rsa": certificate("sealing-rsa", "rsa2048", "/C=VN/L=Hà Nội/O=UBND DEV/CN=UBND THÀNH PHỐ HÀ NỘI DEV", END + "keyUsage=critical,keyEncipherment", "sub"),
    "sealing-p256": certificate("sealing-p256", "p256", "/C=VN/L=Lạng Sơn/O=UBND DEV/CN=UBND TỈNH LẠNG SƠN DEV", END + "keyUsage=critical,keyAgreement", "sub"),
}
key("ledger", "ed25519")
ledger_public = run("openssl", "pkey", "-in", path("ledger.key.pem"), "-pubout", "-outform", "DER")[-32:]


def cms(data, signer):
    save("to-sign", data)
    signed = run("openssl", "cms", "-sign", "-binary", "-cades", "-nosmimecap", "-md", "sha256", "-outform", "DER", "-in", path("to-sign"),
                 "-signer", path(signer + ".pem"), "-inkey", path(signer + ".key.pem"), "-certfile", path("sub.pem"))
    os.remove(path("to-sign"))
    return signed


# --- times and names --------------------------------------------------------------------------------------------
now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=5)
stamp = lambda seconds: (now + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
ms = int(now.timestamp() * 1000)
raw = bytearray(struct.pack(">Q", ms)[2:] + sha(b"vector")[:10])
raw[6] = 0x70 | raw[6] & 0x0F
raw[8] = 0x80 | raw[8] & 0x3F
h = raw.hex()
envelope = f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
AXIS, LANE, ORIGIN = "vn-vectors", "ordinary", "truc/vn-vectors/ordinary/N-G22/1"

# --- preamble ---------------------------------------------------------------------------------------------------
preamble = save("preamble.json", statement(
    "preamble", axis=AXIS, suite="S1", envelope=envelope, lane=LANE, level="ordinary", sender="G22", recipients=["H26", "H37"],
    kind="document", priority=2, created=stamp(0), expires=stamp(7 * 86400)))

# --- directory --------------------------------------------------------------------------------------------------
def binding(name, uses, algorithms=None):
    fields = {"uses": uses, "der": b64(ders[name]), "sha256": hexsha(ders[name]), "valid_from": stamp(-5), "valid_to": stamp(86400 * 365),
              "status": "good"}
    return fields | ({"algorithms": algorithms} if algorithms else {})


def agency(code, name, node=None, certificates=None, **more):
    fields = dict(kind="agency", code=code, names=[name], valid_from="2020-09-14T17:00:00.000Z", route="native", lanes=[LANE], **more)
    if node:
        fields["node"] = node
    if certificates:
        fields["certificates"] = certificates
    return statement("entry", **fields)


entries = {
    "agency/G22": agency("G22", "Văn phòng Chính phủ", "N-G22", [binding("service", ["service"])]),
    "agency/H02": agency("H02", "UBND tỉnh Bắc Giang", valid_to="2025-06-30T12:00:00.000Z", successor="H05"),
    "agency/H26": agency("H26", "UBND thành phố Hà Nội", "N-H26", [binding("sealing-rsa", ["sealing"], ["rsa-oaep-sha256"])]),
    "agency/H37": agency("H37", "UBND tỉnh Lạng Sơn", "N-H26", [binding("sealing-p256", ["sealing"], ["ecdh-p256-sha256kdf-aes256-wrap"])]),
    "node/N-G22": statement("entry", kind="node", id="N-G22", lane=LANE, origin=ORIGIN, epoch=1, ledger_key=b64(ledger_public),
                            certificates=[binding("node", ["node"])]),
    "operator": statement("entry", kind="operator", name="Đơn vị vận hành trục DEV", certificates=[binding("operator", ["operator"])]),
}
keys = sorted(entries)
hashes = [leaf_hash(entries[k]) for k in keys]
for k in keys:
    save("entry-" + k.replace("/", "-") + ".json", entries[k])
statement_bytes = save("directory-root.json", statement(
    "directory-root", axis=AXIS, lane=LANE, version=1, issued=stamp(-3), valid_until=stamp(86400 * 30), size=len(keys), root=root(hashes).hex()))
root_cms = save("directory-root.p7s", cms(statement_bytes, "operator"))


def proven(k):
    i = keys.index(k)
    return {"bytes": b64(entries[k]), "index": i, "proof": [x.hex() for x in inclusion(i, hashes)]}


# --- content commitment, key manifests and key envelopes ----------------------------------------------------------
content = save("cong-van.txt", "Kế hoạch thử nghiệm định dạng\n".encode())
envelope_json = save("envelope.json", statement(
    "envelope", preamble=hexsha(preamble), axis=AXIS, envelope=envelope, lane=LANE, level="ordinary", kind="document", sender="G22",
    recipients=[{"code": "H26", "certificate": hexsha(ders["sealing-rsa"])}, {"code": "H37", "certificate": hexsha(ders["sealing-p256"])}],
    trace=[{"organ": "G22", "time": stamp(0)}],
    attachments=[{"name": "cong-van.txt", "length": len(content), "sha256": hexsha(content)}]))
ref = lambda uri, mime, data: (
    f'<asic:DataObjectReference URI="{uri}" MimeType="{mime}"><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
    f"<ds:DigestValue>{b64(sha(data))}</ds:DigestValue></asic:DataObjectReference>")
manifest = save("ASiCManifest.xml", (
    '<?xml version="1.0" encoding="UTF-8"?>\n<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
    '<asic:SigReference URI="META-INF/signature001.p7s" MimeType="application/pkcs7-signature"/>'
    + ref("attachments/cong-van.txt", "text/plain", content) + ref("envelope.json", "application/json", envelope_json)
    + "</asic:ASiCManifest>\n").encode())
save("ASiCManifest.p7s", cms(manifest, "service"))
salt = sha(b"salt of the vectors")
commitment = sha(b"truc/content/1" + salt + sha(manifest))
container = sha(b"stands for the container in the vectors")

key_hashes = {}
for code, name, options in (
    ("H26", "sealing-rsa", ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"]),
    ("H37", "sealing-p256", ["-keyopt", "ecdh_kdf_md:sha256"]),
):
    plain = save(f"key-{code}.json", statement(
        "key", recipient=code, suite="S1", preamble=hexsha(preamble), file_key=b64(sha(b"file key of the vectors")), prefix=b64(b"vectors"),
        chunk_bytes=1 << 20, length=4096, container=container.hex(), salt=b64(salt)))
    sealed = save(f"key-{code}.cms", run(
        "openssl", "cms", "-encrypt", "-binary", "-aes-256-gcm", "-outform", "DER", "-in", path(f"key-{code}.json"), "-recip", path(name + ".pem"), *options,
        *(["-aes256-wrap"] if code == "H37" else [])))
    key_hashes[code] = hexsha(sealed)

# --- submission, event, checkpoint, receipts ------------------------------------------------------------------------
payload = sha(b"stands for the sealed payload in the vectors")
submission = save("submission.json", statement(
    "submission", event="http://uri.etsi.org/19522/Event/SubmissionAcceptance", actor={"code": "G22", "node": "N-G22", "role": "sender"},
    time=stamp(1), envelope=envelope, preamble=hexsha(preamble), payload=payload.hex(), payload_length=4112, commitment=commitment.hex(),
    key_envelopes=key_hashes,
    directory={"version": 1, "root": root(hashes).hex(), "entry": leaf_hash(entries["agency/G22"]).hex()}))
about = dict(envelope=envelope, sender="G22", submission=leaf_hash(submission).hex(), preamble=hexsha(preamble), payload=payload.hex(),
             commitment=commitment.hex())
events = {
    "relay-acceptance": statement("event", event="http://uri.etsi.org/19522/Event/RelayAcceptance", actor={"node": "R1", "role": "relay"},
                                  time=stamp(2), **about),
    "content-consignment": statement("event", event="http://uri.etsi.org/19522/Event/ContentConsignment", recipient="H26",
                                     actor={"code": "H26", "node": "N-H26", "role": "recipient"}, time=stamp(3), **about),
    "consignment-failure": statement("event", event="http://uri.etsi.org/19522/Event/ContentConsignmentFailure", recipient="H37",
                                     actor={"code": "H37", "node": "N-H26", "role": "recipient"}, time=stamp(3), reason="cannot-open", **about),
}
for name, data in events.items():
    save(f"event-{name}.json", data)

save("administration.json", statement(
    "administration", node="N-H26", time=stamp(4), action="certificate-retired", subject={"name": "CN=UBND tỉnh Hà Giang,C=VN", "sha256": hexsha(b"certificate")},
    who={"name": "lan", "role": "cipher-admin"}, approved_by={"name": "minh", "role": "cipher-admin"}, why="hết hạn ngày 01/12"))

leaves = [b"first leaf of the vectors", submission] + [f"leaf {i} of the vectors".encode() for i in range(2, 7)]
ledger = [leaf_hash(x) for x in leaves]
text = f"{ORIGIN}\n{len(leaves)}\n{b64(root(ledger))}\n".encode()
save("checkpoint.txt", text)


def key_id(kind, material):
    return sha(ORIGIN.encode() + b"\n" + kind + material)[:4]


ed25519 = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", path("ledger.key.pem"), "-in", path("checkpoint.txt"))
line = lambda ident, sig: f"— {ORIGIN} {b64(ident + sig)}\n".encode()
provisional = save("checkpoint-provisional.note", text + b"\n" + line(key_id(b"\x01", ledger_public), ed25519))
final = save("checkpoint.note", provisional + line(key_id(b"\xff", b"truc/cms/1" + sha(ders["node"])), cms(text, "node")))

body = dict(leaf=b64(submission), preamble=b64(preamble), directory=b64(statement_bytes), directory_cms=b64(root_cms),
            node=proven("node/N-G22"), agency=proven("agency/G22"),
            opening={"salt": b64(salt), "manifest": b64(manifest), "envelope": b64(envelope_json)})
for name, note in (("receipt", final), ("receipt-provisional", provisional)):
    proof = "".join(b64(x) + "\n" for x in inclusion(1, ledger))
    save(name + ".receipt", f"c2sp.org/tlog-proof@v1\nextra {b64(statement('receipt', **body))}\nindex 1\n{proof}\n".encode() + note)

save("anchors.pem", load("root.pem"))
save("expect.json", json.dumps({
    "envelope": envelope, "preamble": hexsha(preamble), "submission_leaf": leaf_hash(submission).hex(), "directory_root": root(hashes).hex(),
    "commitment": commitment.hex(), "key_envelopes": key_hashes, "ledger_root": root(ledger).hex(), "ledger_key": ledger_public.hex(),
    "origin": ORIGIN, "verify_at": stamp(60)}, indent=1) + "\n")
for name in ("root.key.pem", "sub.key.pem", "root.pem"):
    os.remove(path(name))
