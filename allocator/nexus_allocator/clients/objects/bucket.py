"""An object store for what is kept cold: one bucket, by boto3 (the extra `aws`)."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

# One request takes no more; larger ones go in parts, each with its own checksum.
LARGEST_PUT = 5 * 10**9
CHUNK_BYTES = 1 << 20


class Objects(Protocol):
    """What cold storage asks of an object store. Keys are ours; what is not there raises KeyError."""

    def put(self, key: str, body: BinaryIO, *, size_bytes: int, sha256: str) -> None:
        """Store the body, checked against its SHA-256 on the way; what has the key is replaced."""
        ...

    def holds(self, key: str, *, size_bytes: int, sha256: str) -> bool:
        """Say whether an object with this size and checksum has the key."""
        ...

    def get(self, key: str) -> Iterator[bytes]: ...

    def delete(self, key: str) -> None:
        """Remove the object; what is gone already is fine."""
        ...


@dataclass(frozen=True)
class Held:
    """What lies below a prefix; unfinished uploads are not in it."""

    objects: int
    size_bytes: int


def problems() -> tuple[type[Exception], ...]:
    """Return what boto raises for a store that does not answer, or refuses; none without the extra."""
    try:
        from boto3.exceptions import Boto3Error  # noqa: PLC0415 - needed where there is a store alone
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above
    except ImportError:
        return ()
    return Boto3Error, BotoCoreError, ClientError


class Bucket:
    """A bucket of S3, or of what speaks its language; who may do what there, and where it is, boto knows."""

    def __init__(self, name: str) -> None:
        import boto3  # noqa: PLC0415 - needed where files are kept cold alone

        self.name = name
        self._client: Any = boto3.client("s3")

    def put(self, key: str, body: BinaryIO, *, size_bytes: int, sha256: str) -> None:
        common = {"Bucket": self.name, "Key": key}
        if size_bytes > LARGEST_PUT:
            extra = {"Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "SHA256"}
            self._client.upload_fileobj(body, *common.values(), ExtraArgs=extra)
            return
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        self._client.put_object(
            **common, Body=body, ContentLength=size_bytes, ChecksumSHA256=checksum,
            Metadata={"sha256": sha256},
        )  # fmt: skip

    def holds(self, key: str, *, size_bytes: int, sha256: str) -> bool:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

        try:
            found = self._client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
        return bool(found["ContentLength"] == size_bytes and found["Metadata"].get("sha256") == sha256)

    def get(self, key: str) -> Iterator[bytes]:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - as above

        try:
            body = self._client.get_object(Bucket=self.name, Key=key)["Body"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                raise KeyError(key) from error
            raise
        yield from body.iter_chunks(CHUNK_BYTES)

    def held_below(self, prefix: str) -> dict[str, Held]:
        """Return what each folder right below ``prefix`` holds; lists every object, a thousand a request."""
        found: dict[str, Held] = {}
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        for each in (one for page in pages for one in page.get("Contents", ())):
            name, inner, _ = each["Key"].removeprefix(prefix).partition("/")
            if inner:
                before = found.get(name, Held(0, 0))
                found[name] = Held(before.objects + 1, before.size_bytes + each["Size"])
        return found

    def keys_below(self, prefix: str) -> Iterator[str]:
        """Yield every key below ``prefix``, a thousand a request."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        yield from (each["Key"] for page in pages for each in page.get("Contents", ()))

    def fetch(self, key: str) -> tuple[Iterator[bytes], str, dict[str, str]]:
        """Return an object's content, its content type, and what is noted with it."""
        found = self._client.get_object(Bucket=self.name, Key=key)
        return found["Body"].iter_chunks(CHUNK_BYTES), found["ContentType"], found["Metadata"]

    def bring_back(self, key: str, body: BinaryIO, *, content_type: str, metadata: dict[str, str]) -> None:
        """Store an object as `fetch` gave it; one too large for a request goes in parts."""
        extra = {"ContentType": content_type, "Metadata": metadata, "ChecksumAlgorithm": "SHA256"}
        self._client.upload_fileobj(body, self.name, key, ExtraArgs=extra)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)
