import tempfile

import fal_client

with tempfile.NamedTemporaryFile(suffix=".png") as file:
    file.write(b"not really a picture")
    file.flush()
    print(fal_client.upload_file(file.name))

print(fal_client.upload(b"some words", "text/plain"))
