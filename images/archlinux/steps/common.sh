# shellcheck shell=sh
# What the steps of the build share: a dot script.

here=/build
exec 2>&1 # what is said last is why a step failed

# What is in this image, kept in it: WITH_R and its like in "parts", the kernels to expect in "kernels".
facts=/opt/notebook/share/image
# shellcheck source=/dev/null
[ ! -e "$facts/parts" ] || . "$facts/parts"

fail() {
    echo "$*" >&2
    exit 1
}

# Print the entries of lists: the first word of each line, unless "#" begins it.
entries() {
    cat "$@" | while read -r entry _ || [ -n "$entry" ]; do
        case $entry in
            "" | "#"*) ;;
            *) echo "$entry" ;;
        esac
    done
}

# Note a kernel that this image must have.
expect_kernel() {
    echo "$1" >> "$facts/kernels"
}

# Certificates to trust while building, for every program that may ask.
if [ -s "$here/ca-bundle.crt" ]; then
    for name in CURL_CA_BUNDLE GIT_SSL_CAINFO JULIA_SSL_CA_ROOTS_PATH PIP_CERT REQUESTS_CA_BUNDLE SSL_CERT_FILE; do
        export "$name=$here/ca-bundle.crt"
    done
fi
