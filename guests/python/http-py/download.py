"""`download URL [FILE]`"""

from contextlib import nullcontext
from zlib import crc32

from wire import pieces, request_to, send


async def download(url: str, path: str | None = None) -> None:
    """Reads a body of any size, a piece at a time, to a file if one is named, and prints its length and its CRC-32."""
    response = await send(request_to(url), b"")
    if response.status() // 100 != 2:
        raise ValueError(f"the origin answered {response.status()}")
    length, checksum = 0, 0
    with open(path, "wb") if path else nullcontext() as file:
        async for piece in pieces(response.consume()):
            length += len(piece)
            checksum = crc32(piece, checksum)
            if file:
                file.write(piece)
    print(f"{length} bytes, CRC-32 {checksum:08x}", flush=True)
