#!/usr/bin/env python3
"""A client of the axis SDK's API, as existing document systems speak it. Python's standard library alone.

It does on the wire what the vendor's Java SDK does: parameters as XroadVnpt headers, an HMAC over the JSON text of all of them, a
timestamp made once per service object, a header map that is never cleared, a line break behind the file of sendEdoc, a file hash
without leading zeros, a new connection for every call but sendEdoc, and "Expect: 100-continue" where there is a body.

    axis_sdk_client.py --endpoint URL --systemid ID --secret-file FILE COMMAND ...

    send FROM FILE [--messagetype edoc|status] [--to CODE ...]
    receive FOLDER [--messagetype edoc|status]      the vendor's loop: list, then get and acknowledge each
    sent DOCID | count | agencies | units
    call OPERATION [KEY=VALUE ...] [--body TEXT]    any other one

It prints one JSON text per reply. Exit code 1: a reply was a failure, or none that the SDK would understand.
"""
import argparse
import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import ssl
import sys
import urllib.parse

PREFIX = "XroadVnpt-"
EMPTY_BODY = {"getAgenciesList", "getAgenciesListQD20", "getSynchronizeUnit", "getReceivedEdocList", "getSentEdocList"}
CONTINUE_SECONDS = 3.0  # what the SDK waits for "100 Continue" before it sends the body anyway


def unpadded_hex(digest):
    """Java's Integer.toHexString, byte by byte: 0a 0b is "ab"."""
    return "".join(format(byte, "x") for byte in digest)


class Broken(Exception):
    """What the SDK swallows and shows its caller as a result without fields."""


class Service:
    """One service object: its header map grows and is never cleared."""

    def __init__(self, endpoint, system, secret, cafile=None):
        self.url = urllib.parse.urlsplit(endpoint)
        self.secret = secret.encode("utf-8")
        now = datetime.datetime.now()
        # Frozen here, in local time: days old after days.
        stamp = now.strftime("%d%m%YT%H%M%S") + "+%04d" % (now.microsecond // 1000)
        self.map = {"systemid": system, "timestamp": stamp}
        self.tls = ssl.create_default_context(cafile=cafile) if self.url.scheme == "https" else None
        self.kept = None  # sendEdoc's connection

    def connect(self):
        host, port = self.url.hostname, self.url.port
        if self.tls:
            return http.client.HTTPSConnection(host, port, context=self.tls)
        return http.client.HTTPConnection(host, port)

    def headers(self, content_type, parameters):
        for key, value in parameters.items():
            if value is None or isinstance(value, dict):
                raise ValueError(f"{key}: a scalar, or a list for `to`")
            self.map[key] = json.dumps(value, separators=(",", ":")) if isinstance(value, list) else str(value)
        self.map["Content-Type"] = content_type
        signed = json.dumps({PREFIX + key: value for key, value in self.map.items()}, ensure_ascii=False, separators=(",", ":"))
        mac = hmac.new(self.secret, signed.encode("utf-8"), hashlib.sha256).hexdigest()
        headers = [(PREFIX + key, value.encode("utf-8")) for key, value in self.map.items()]
        headers += [
            ("Content-Type", content_type.encode()),
            (PREFIX + "sign-header-key", ";".join(self.map).encode("utf-8")),
            (PREFIX + "sign-header", signed.encode("utf-8")),
            (PREFIX + "hash-header", mac.encode()),
            ("User-Agent", b"JAVASDKAgent/1.0.0 XRoad/VPCP"),
            (PREFIX + "version", b"3.0.201608"),
        ]
        return headers

    def exchange(self, connection, method, path, headers, body, expect=False):
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        if expect:
            connection.putheader("Expect", "100-continue")
            connection.endheaders()
            connection.sock.settimeout(CONTINUE_SECONDS)
            interim = b""
            while not interim.endswith(b"\r\n\r\n"):
                byte = connection.sock.recv(1)  # a timeout here is a wait that every call would pay
                if not byte:
                    raise Broken("the connection ended instead of 100 Continue")
                interim += byte
            if not interim.startswith(b"HTTP/1.1 100"):
                raise Broken(f"no 100 Continue: {interim!r}")
            connection.sock.settimeout(None)
            connection.send(body)
        else:
            connection.endheaders(body)
        reply = connection.getresponse()
        return reply.status, reply.read()

    def path(self, operation):
        return self.url.path.rstrip("/") + "/" + operation

    def call(self, operation, parameters, body=None):
        """Every operation but sendEdoc and downloadEdoc: a new connection each."""
        headers = self.headers("application/json", parameters)
        empty = operation in EMPTY_BODY
        content = b"" if empty else (b"{}" if body is None else body.encode("utf-8"))
        connection = self.connect()
        try:
            _, text = self.exchange(connection, "POST", self.path(operation), headers, content, expect=not empty)
        finally:
            connection.close()
        return understood(text.decode("utf-8"))

    def send_edoc(self, parameters, file):
        with open(file, "rb") as opened:
            content = opened.read()
        parameters = dict(parameters, servicetype="eDoc")
        parameters["hash-file"] = unpadded_hex(hashlib.sha256(content).digest())
        headers = self.headers("application/octet-stream", parameters)
        # An endpoint with a slash at its end gives two of them here.
        path = self.url.path + "/sendEdoc"
        body = content + b"\r\n"
        for attempt in (1, 2):
            try:
                self.kept = self.kept or self.connect()
                status, text = self.exchange(self.kept, "POST", path, headers, body)
                break
            except (ConnectionError, http.client.HTTPException, OSError):
                self.kept = None  # once more by itself, whatever became of the first
                if attempt == 2:
                    raise
        if status not in (200, 201):
            raise Broken(f"HTTP {status}")
        reply = understood(text.decode("ascii", errors="replace"))
        if not isinstance(reply.get("DocId"), str):
            raise Broken("no DocId: the caller loses code and words")
        return reply

    def get_edoc(self, doc_id, folder):
        reply = self.call("getEdoc", {"docId": doc_id, "filePath": folder})
        if reply["ErrorCode"] != "0" or reply["status"] == "FAIL":
            return reply, None
        return reply, self.save(doc_id, folder, base64.b64decode(reply["data"]).decode("utf-8").encode("utf-8"))

    def download_edoc(self, doc_id, folder):
        headers = self.headers("application/json", {"docId": doc_id})
        connection = self.connect()
        try:
            _, content = self.exchange(connection, "GET", self.path("downloadEdoc"), headers, None)
        finally:
            connection.close()
        # Whatever is not empty is a document to the SDK.
        if not content:
            return {"status": "FAIL", "ErrorCode": "100", "ErrorDesc": ""}, None
        return {"status": "SUCCESS", "ErrorCode": "0", "ErrorDesc": ""}, self.save(doc_id, folder, content)

    @staticmethod
    def save(doc_id, folder, content):
        now = datetime.datetime.now()
        folder = os.path.join(folder, str(now.year), str(now.month))
        os.makedirs(folder, exist_ok=True)
        file = os.path.join(folder, doc_id + ".edxml")
        with open(file, "wb") as opened:
            opened.write(content)
        return file


def understood(text):
    """The reply as the SDK's reader of JSON takes it; what it cannot take is an exception that nobody sees."""
    try:
        reply = json.loads(text)
    except json.JSONDecodeError as error:
        raise Broken(f"not JSON: {text[:200]!r}") from error
    for name in ("status", "ErrorCode", "ErrorDesc"):
        if not isinstance(reply.get(name), str):
            raise Broken(f"{name} is missing or null: {text[:200]!r}")
    if "data" in reply and isinstance(reply["data"], list):
        for item in reply["data"]:
            if any(value is None or isinstance(value, (dict, list)) for value in item.values()):
                raise Broken(f"an item that kills the list: {item!r}")
    return reply


def receive(service, message, folder, download):
    """The vendor's example: list, get each, say done or fail."""
    listed = service.call("getReceivedEdocList", {"servicetype": "eDoc", "messagetype": message})
    if listed["ErrorCode"] != "0" or not isinstance(listed.get("data"), list):
        yield listed
        return
    for item in listed["data"]:
        get = service.download_edoc if download else service.get_edoc
        reply, file = get(item["docId"], folder)
        good = reply["status"] in ("OK", "SUCCESS") and file is not None
        said = service.call("updateStatus", {"status": "done" if good else "fail", "docId": item["docId"]})
        said.update(item=item, file=file)
        yield said
    yield {"status": "OK", "ErrorCode": "0", "ErrorDesc": "", "received": len(listed["data"])}


def replies(service, arguments):
    command = arguments.command
    if command == "send":
        parameters = {"from": arguments.sender, "messagetype": arguments.messagetype}
        if arguments.to:
            parameters["to"] = arguments.to
        yield service.send_edoc(parameters, arguments.file)
    elif command == "receive":
        yield from receive(service, arguments.messagetype, arguments.folder, arguments.download)
    elif command == "sent":
        yield service.call("getSentEdocList", {"servicetype": "eDoc", "messagetype": "edoc", "docId": arguments.doc_id})
    elif command == "count":
        yield service.call("countReceiveEdoc", {})
        yield service.call("countReceiveStatus", {})
    elif command == "agencies":
        yield service.call("getAgenciesList", {})
        yield service.call("getAgenciesListQD20", {"level": "1"})
    elif command == "units":
        yield service.call("getSynchronizeUnit", {})
    else:
        pairs = dict(pair.split("=", 1) for pair in arguments.parameters)
        yield service.call(arguments.operation, pairs, arguments.body)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--systemid", required=True)
    parser.add_argument("--secret-file", required=True)
    parser.add_argument("--cafile", help="certificates to believe, for https")
    commands = parser.add_subparsers(dest="command", required=True)
    send = commands.add_parser("send")
    send.add_argument("sender")
    send.add_argument("file")
    send.add_argument("--messagetype", default="edoc")
    send.add_argument("--to", nargs="*")
    take = commands.add_parser("receive")
    take.add_argument("folder")
    take.add_argument("--messagetype", default="edoc")
    take.add_argument("--download", action="store_true", help="downloadEdoc instead of getEdoc")
    commands.add_parser("sent").add_argument("doc_id")
    for name in ("count", "agencies", "units"):
        commands.add_parser(name)
    call = commands.add_parser("call")
    call.add_argument("operation")
    call.add_argument("parameters", nargs="*")
    call.add_argument("--body")
    arguments = parser.parse_args()
    with open(arguments.secret_file, encoding="utf-8") as file:
        secret = file.read().strip()
    service = Service(arguments.endpoint, arguments.systemid, secret, arguments.cafile)
    good = True
    try:
        for reply in replies(service, arguments):
            good &= reply["ErrorCode"] == "0"
            print(json.dumps(reply, ensure_ascii=False))
    except Broken as error:
        print(json.dumps({"broken": str(error)}, ensure_ascii=False))
        good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
