//! What the user can do about errors that are met in many places, by their words: the
//! kernel's, a registry's, Podman's. An error that has a hint of its own keeps it.

use crate::error::Error;

/// Words of an error, and what can be done.
const HINTS: &[(&str, &str)] = &[
    (
        "no space left on device",
        "`coracle system df` says what takes room here, `coracle system prune` gives back what nothing uses",
    ),
    (
        "disk quota exceeded",
        "`coracle system df` says what takes room here, `coracle system prune` gives back what nothing uses",
    ),
    (
        "no such host",
        "is the name right, and this machine online? Behind a proxy, `export HTTPS_PROXY=http://…`",
    ),
    (
        "network is unreachable",
        "is this machine online? Behind a proxy, `export HTTPS_PROXY=http://…`",
    ),
    (
        "server gave HTTP response to HTTPS client",
        "for a registry without TLS, `--tls-verify=false`",
    ),
    (
        "certificate signed by unknown authority",
        "put the authority's certificate beneath ~/.config/containers/certs.d/REGISTRY as ca.crt",
    ),
    (
        "unauthorized",
        "the name may be wrong, or it is private: `coracle login REGISTRY`, then again",
    ),
    (
        "requested access to the resource is denied",
        "the name may be wrong, or it is private: `coracle login REGISTRY`, then again",
    ),
    (
        "pasta failed with exit code",
        "`coracle doctor` tries it by itself; `--network=host` and `--network=none` do without",
    ),
    (
        "is not a regular file",
        "what stands behind the image is the command, and a folder is none",
    ),
    (
        "exists but it is not executable",
        "`chmod +x` makes it so where it comes from",
    ),
    (
        "no context directory and no containerfile",
        "`coracle build .` takes the Containerfile that is in this folder",
    ),
    (
        "a registry must be provided",
        "say which: `coracle login docker.io`",
    ),
    (
        "exists in localhost/",
        "names of localhost/ are this machine's own: `coracle push NAME REGISTRY/NAME` says where to",
    ),
    (
        "bad format for add-host",
        "NAME:ADDRESS, as in `--add-host db:192.0.2.1`",
    ),
    (
        "must set volume destination",
        "`target=/path` says where it is in the container",
    ),
    (
        "for \"-c, --cpu-shares\" flag",
        "an option of the command stands behind the image: `coracle run --entrypoint sh IMAGE -c …`",
    ),
    (
        "`coracle ps` takes no arguments",
        "`coracle ps --filter name=NAME` shows one, `coracle inspect NAME` says all about it",
    ),
    (
        "parsing reference \"http",
        "a registry's name has no http:// before it; `--tls-verify=false` asks one that has no TLS",
    ),
    (
        "must be an absolute path",
        "the path in the container begins with /, as in `-v results:/data`",
    ),
    (
        "operation not permitted",
        "`coracle doctor` looks at what this machine allows",
    ),
    (
        "only create exec sessions on running containers",
        "`coracle start` it first, or look with `coracle logs` why it ended",
    ),
    (
        "you can only attach to running containers",
        "`coracle start --attach` starts it, `coracle logs` shows what it printed",
    ),
    (
        "cannot be removed without force",
        "`coracle stop` it first, or `coracle rm -f`",
    ),
    (
        "that name is already in use",
        "`coracle rm` it, take another --name, or let --replace remove it",
    ),
    (
        "secret name in use",
        "`--replace` puts the new one in its place",
    ),
    (
        "volume already exists",
        "`--ignore` takes the one that is there",
    ),
    (
        "manifest unknown",
        "it has no such tag: `coracle search --list-tags NAME` shows those it has",
    ),
    (
        "unresolvable CDI devices",
        "as root, `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` describes NVIDIA's; other makers have their own",
    ),
    (
        "image is in use by a container",
        "`coracle rm` the container first, or `coracle rmi -f` takes it along",
    ),
    (
        "volume is being used",
        "`coracle rm` these containers first, or `coracle volume rm -f` takes them along",
    ),
    (
        "payload does not match any of the supported image formats",
        "an image of `save` is loaded; a tar of a file system, as `export` writes it, is imported: `coracle import`",
    ),
];

/// What can be done about `error`, if it does not say so itself.
pub fn of(error: &Error) -> Option<&str> {
    error.hint_line().or_else(|| {
        // The kernel's words begin in capitals, Go's do not.
        let text = error.to_string().to_lowercase();
        let found = HINTS
            .iter()
            .find(|(words, _)| text.contains(&words.to_lowercase()));
        found.map(|(_, hint)| *hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_own_hint_comes_first() {
        let full = Error::other("write x: no space left on device");
        assert!(of(&full).is_some_and(|hint| hint.contains("system df")));
        let own = full.hint("buy a disk");
        assert_eq!(of(&own), Some("buy a disk"));
        assert_eq!(of(&Error::other("no idea")), None);
    }
}
