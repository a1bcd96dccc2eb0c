"""Uploads a file in pieces with tuspy (https://github.com/tus/tus-py-client), breaks off once, goes on, and prints its address.

usage: TRUC_TOKEN=… tus_client.py ENDPOINT FILE
"""

import os
import sys

from tusclient import client

endpoint, path = sys.argv[1:]
tus = client.TusClient(endpoint, headers={"Authorization": f"Bearer {os.environ['TRUC_TOKEN']}"})
first = tus.uploader(path, chunk_size=700_000, metadata={"filename": "tuspy.bin"})
first.upload_chunk()
first.upload_chunk()
# Another process would know the address alone.
second = tus.uploader(path, chunk_size=500_000, url=first.url)
assert second.get_offset() == 1_400_000, second.get_offset()
second.upload()
print(second.url)
