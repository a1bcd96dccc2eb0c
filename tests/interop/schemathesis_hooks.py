"""For `schemathesis run`: bodies of the upload protocol are bytes."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
