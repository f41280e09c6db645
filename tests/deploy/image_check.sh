#!/usr/bin/env bash
# Build the image with buildah, run it as it is, and certify what it serves. For root on Linux. Leaves nothing behind.
#   BASE=image           the base to build on, by default the one the Dockerfile pins
#   BASE=debootstrap     a base of Debian's own packages instead, as by default where the pinned one cannot be fetched
# The status is 75 when there is no base to be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
gradmesh=${GRADMESH:-.venv/bin/gradmesh}
work=$(mktemp -d)
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/storage"\nrunroot = "%s/run"\n' "$work" "$work" > "$work/storage.conf"
export CONTAINERS_STORAGE_CONF=$work/storage.conf BUILDAH_ISOLATION=chroot
container=
server=
clean() {
    [ -z "$server" ] || { pkill -TERM -s "$server" || true; wait "$server" || true; }
    [ -z "$container" ] || buildah rm "$container" > /dev/null
    rm -rf "$work"
}
trap clean EXIT

pinned=$(sed -n 's/^ARG PYTHON_IMAGE=//p' deploy/Dockerfile)
if [ -z "${BASE:-}" ] && ! buildah pull --quiet "$pinned" > /dev/null; then
    command -v debootstrap > /dev/null || { echo "no base image: $pinned cannot be fetched" >&2; exit 75; }
    BASE=debootstrap
fi
options=()
if [ "${BASE:-}" = debootstrap ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,python-is-python3,ca-certificates bookworm "$work/root" > /dev/null \
        || { echo "no base image: Debian's packages cannot be fetched" >&2; exit 75; }
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/root" / > /dev/null
    buildah commit --quiet "$container" localhost/gradmesh-base > /dev/null
    buildah rm "$container" > /dev/null
    container=
    # It trusts, and asks for packages, what this machine does.
    options=(--pull=never --build-arg PYTHON_IMAGE=localhost/gradmesh-base --volume /etc/ssl/certs:/etc/ssl/certs:ro)
    [ ! -e /etc/pip.conf ] || options+=(--volume /etc/pip.conf:/etc/pip.conf:ro)
elif [ -n "${BASE:-}" ]; then
    options=(--build-arg "PYTHON_IMAGE=$BASE")
fi
buildah bud "${options[@]}" --file deploy/Dockerfile --tag localhost/gradmesh:check .

container=$(buildah from --pull=never localhost/gradmesh:check)
[ "$(buildah run "$container" -- id -u)" = 10001 ]
! buildah run "$container" -- touch /opt/gradmesh/written 2> /dev/null
! buildah run "$container" -- sh -c 'command -v cc gcc' > /dev/null 2>&1
setsid buildah run "$container" -- gradmesh serve --port 0 --workers 2 > "$work/said" &
server=$!
until grep -q 'serving on' "$work/said"; do
    kill -0 "$server" || { echo "the image does not serve" >&2; exit 1; }
    read -r -t 0.2 <> <(:) || true
done
cat "$work/said"
"$gradmesh" conformance "$(grep -o '127\.0\.0\.1:[0-9]*' "$work/said" | head -1)" | tail -1
