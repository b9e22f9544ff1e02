#!/usr/bin/env bash
# containerd takes images of WebAssembly in, lists them, and then cannot run two of the three shapes they have.
#
# Assumed: what `ctr image import` accepts, `ctr run` can make a container of; if not, for want of a runtime.
# Seen:    with 1.6.20 it ends before any runtime is asked. What `wkg` pushes (a configuration of
#          application/vnd.wasm.config.v0+json, which counts `layerDigests`) has layers that do not match its rootfs. A
#          layer of application/wasm below an ordinary configuration has no processor. A tar layer with the same file is
#          unpacked; what is left is the runtime, of which this asks for one that is not there.
# Needs:   root on Debian 12.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

apt-get download containerd=1.6.20~ds1-1+deb12u3 >/dev/null 2>&1
dpkg -x containerd_*.deb deb
export PATH=$work/deb/usr/bin:$PATH

python3 <<'PYTHON'
import hashlib, io, json, os, tarfile

os.makedirs("layout/blobs/sha256")

def blob(data, **more):
    digest = hashlib.sha256(data).hexdigest()
    with open("layout/blobs/sha256/" + digest, "wb") as file:
        file.write(data)
    return {"digest": "sha256:" + digest, "size": len(data), **more}

def image(name, config_type, config, layer):
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), mediaType=config_type),
        "layers": [layer],
    }
    names = {"io.containerd.image.name": f"example.com/{name}:latest", "org.opencontainers.image.ref.name": "latest"}
    return blob(json.dumps(manifest).encode(), mediaType=manifest["mediaType"], annotations=names)

module = b"\0asm\1\0\0\0"
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as archive:
    entry = tarfile.TarInfo("guest.wasm")
    entry.size = len(module)
    archive.addfile(entry, io.BytesIO(module))
wasm = blob(module, mediaType="application/wasm")
layer = blob(tar.getvalue(), mediaType="application/vnd.oci.image.layer.v1.tar")
ordinary = "application/vnd.oci.image.config.v1+json"

def rootfs(digest):
    return {
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/guest.wasm"]},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }

artifact = {"created": "2026-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [wasm["digest"]]}
images = [
    image("artifact", "application/vnd.wasm.config.v0+json", artifact, wasm),
    image("layer", ordinary, rootfs(wasm["digest"]), wasm),
    image("tar", ordinary, rootfs(layer["digest"]), layer),
]
with open("layout/index.json", "w") as file:
    json.dump({"schemaVersion": 2, "manifests": images}, file)
with open("layout/oci-layout", "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
PYTHON
tar -cf images.tar -C layout .

cat >config.toml <<TOML
version = 2
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/containerd.sock"
TOML
containerd --config config.toml >log 2>&1 &
server=$!
ctr() { command ctr --address "$work/containerd.sock" "$@" 2>&1 || true; }
for _ in {1..100}; do
    if [[ $(ctr version) == *Server:*Version* ]]; then break; fi
    sleep 0.1
done
containerd --version

run() { ctr run --rm --snapshotter native --runtime io.containerd.nothing.v1 "example.com/$1:latest" "$1"; }

ctr image import --all-platforms --no-unpack images.tar >/dev/null
shows 'it imports' '^example.com/(artifact|layer|tar):latest' "$(ctr image ls)"
shows 'and says of what wkg pushes' 'mismatched image rootfs and manifest layers' "$(run artifact)"
shows 'of a layer of application/wasm' 'no processor for media-type' "$(run layer)"
shows 'of a tar layer, once it is unpacked' 'containerd-shim-nothing-v1": file does not exist' "$(run tar)"
