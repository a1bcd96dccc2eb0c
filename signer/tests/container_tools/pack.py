"""Packs a small container with the standard library: pack.py seekable|stream|stored|zip64 FILE."""
import base64, hashlib, sys, zipfile
from urllib.parse import quote

way, path = sys.argv[1:]
name, content = "tài liệu.txt", "nội dung".encode()
digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
manifest = f"""<?xml version="1.0" encoding="utf-8"?>
<ASiCManifest xmlns="http://uri.etsi.org/02918/v1.2.1#">
  <SigReference URI="META-INF/signature001.p7s" MimeType="application/x-pkcs7-signature"></SigReference>
  <DataObjectReference URI="{quote(name)}">
    <DigestMethod xmlns="http://www.w3.org/2000/09/xmldsig#" Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>
    <d:DigestValue xmlns:d="http://www.w3.org/2000/09/xmldsig#">
      {digest}
    </d:DigestValue>
  </DataObjectReference>
</ASiCManifest>"""

with open(path, "wb") as file:
    method = zipfile.ZIP_STORED if way == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zip:
        zip.writestr("mimetype", "application/vnd.etsi.asic-e+zip")
        if way == "stream":
            zip._seekable = False
        for entry, data in [(name, content), ("META-INF/ASiCManifest.xml", manifest.encode()), ("META-INF/signature001.p7s", b"signature")]:
            info = zipfile.ZipInfo(entry)
            info.compress_type = method
            with zip.open(info, "w", force_zip64=way == "zip64") as target:
                target.write(data)
