# shellcheck shell=bash
# Images: built from Containerfiles without a container engine, kept in the cache, imported into containerd. Sourced by ../cluster.
#
# `FROM debian:bookworm-slim` is made here of Debian's packages, as no registry of images can be reached.
# shellcheck disable=SC2154 # root is of common.sh

IMAGES=(pause curl nginx echo mizzen mizzen-proxy)
BASE=debian:bookworm-slim

image_folder() { # name
    local folder
    for folder in "$root/e2e/cluster.d/images/$1" "$root/manifests/images/$1"; do
        if [[ -f $folder/Containerfile ]]; then
            printf '%s\n' "$folder"
            return
        fi
    done
    fail "no image $1: there is no Containerfile for it in e2e/cluster.d/images or manifests/images"
}

build_images() {
    local name
    need_programs
    rm -rf "$CACHE"/.image.* # of a build that was killed
    for name in "${IMAGES[@]}"; do
        build_image "$name" >/dev/null
    done
}

# Prints the archive of an image. It is built when no archive of the same content is there.
build_image() { # name
    local name=$1 folder context key archive
    folder=$(image_folder "$name")
    context=$(mktemp -d "$CACHE/.image.XXXXXX")
    cp -R "$folder/." "$context"
    add_programs "$name" "$context"
    key=$(cd "$context" && find . -type f -exec sha256sum {} + | sort | sha256sum | cut -c 1-16)
    archive=$CACHE/images/$name.$key.tar
    if [[ ! -f $archive ]]; then
        say "building the image $name"
        build_archive "$name" "$context" "$archive" >"$CACHE/images/$name.log" 2>&1 || {
            rm -rf "$context"
            tail -n 15 "$CACHE/images/$name.log" >&2
            fail "the image $name cannot be built (see above, all of it in $CACHE/images/$name.log)"
        }
    fi
    rm -rf "$context"
    printf '%s\n' "$archive"
}

need_programs() {
    [[ -n ${programs-} ]] || programs=$("$root/e2e/tools/build" --quiet) || fail 'mizzen cannot be built (see above)'
}

# What a Containerfile copies and no repository has.
add_programs() { # image context
    mkdir -p "$CACHE/images"
    case $1 in
    pause) cc -static -O2 -s -o "$2/pause" "$2/pause.c" || fail 'cc cannot build the program of the image pause' ;;
    echo)
        need_programs
        strip -o "$2/echo" "$programs/echo"
        ;;
    mizzen)
        need_programs
        strip -o "$2/mizzen" "$programs/mizzen"
        ;;
    mizzen-proxy)
        need_programs
        strip -o "$2/mizzen" "$programs/mizzen"
        cp "$(program envoy)" "$2/envoy"
        ;;
    esac
}

build_archive() { # name context archive
    if grep -q "^FROM $BASE" "$2/Containerfile"; then need_base || return; fi
    # Pushed by its id: the archive would have every name that the image has.
    buildah_here build --layers --pull-never --isolation chroot --network host --timestamp 0 \
        --tag "$1:local" --iidfile "$3.id" "$2" &&
        rm -f "$CACHE/images/$1".*.tar "$3.part" &&
        buildah_here push "$(<"$3.id")" "docker-archive:$3.part:$1:local" &&
        # Images that have lost their name to this one; its layers stay, for the next time.
        buildah_here rmi --prune &&
        rm "$3.id" &&
        mv "$3.part" "$3"
}

# In a mount namespace of its own: none of its mounts stay behind.
buildah_here() {
    unshare --mount --propagation private \
        buildah --root "$CACHE/images/storage" --runroot "$CACHE/images/run" --storage-driver overlay "$@"
}

need_base() {
    local base=$CACHE/images/base.tar sources container
    ! buildah_here inspect --type image "$BASE" >/dev/null 2>&1 || return 0
    # This machine's own sources: others may not be reached. Installing leaves no archives, as in the published image.
    mapfile -t sources < <(find /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources -size +0 2>/dev/null)
    # shellcheck disable=SC2016 # expanded by mmdebstrap
    mmdebstrap --variant=minbase --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='printf "DPkg::Post-Invoke {\"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin\";};\n" \
            >"$1/etc/apt/apt.conf.d/clean"' bookworm "$base" "${sources[@]}" || return
    container=$(buildah_here from --pull-never scratch) &&
        buildah_here add "$container" "$base" / &&
        buildah_here config --cmd bash \
            --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container" &&
        buildah_here commit --rm "$container" "$BASE" || return
    rm -f "$base"
}

ctr_here() { ctr --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

# As a process of the cluster, beside the start of the others: `down` ends it too.
start_import() {
    local name archives=()
    for name in "${IMAGES[@]}"; do
        archives+=("$CACHE/images/$name".*.tar)
    done
    await containerd containerd ctr_here version
    # shellcheck disable=SC2016 # expanded by the inner shell
    start import bash -ec 'printf "%s\0" "${@:3}" |
            xargs -0 -n 1 -P 2 ctr --address "$1" --namespace k8s.io images import
        touch "$2"' import "$CONTAINERD_SOCKET" "$STATE/run/imported" "${archives[@]}"
}

await_import() { await 'the import of the images' import test -e "$STATE/run/imported"; }

load_images() { # name or archive…
    local what archive
    for what in "$@"; do
        archive=$what
        [[ -f $what ]] || archive=$(build_image "$what")
        ctr_here images import "$archive" >&2 || fail "$archive cannot be imported (see above)"
    done
}
