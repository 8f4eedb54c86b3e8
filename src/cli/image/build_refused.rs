//! Flags of Podman's `build` that there is nothing behind yet.

use crate::cli::args::refused::Refused as Table;
use crate::cli::args::refused::{Flag, boolean, flags, unless, value};
use crate::error::Result;

/// In the order of podman-build(1).
const FLAGS: &[Flag] = &[
    boolean("all-platforms", &["false"]),
    boolean("compat-volumes", &["false"]),
    value("cpp-flag"),
    value("cw"),
    value("decryption-key"),
    value("hooks-dir"),
    boolean("logsplit", &["false"]),
    value("os-feature"),
    value("os-version"),
    value("runtime-flag"),
    value("sbom"),
    value("sbom-image-output"),
    value("sbom-image-purl-output"),
    value("sbom-merge-strategy"),
    value("sbom-output"),
    value("sbom-purl-output"),
    value("sbom-scanner-command"),
    value("sbom-scanner-image"),
    value("sign-by"),
    value("signature-policy"),
    unless("userns", &["", "container", "host", "private"]),
    value("userns-gid-map"),
    value("userns-gid-map-group"),
    value("userns-uid-map"),
    value("userns-uid-map-user"),
];

/// The first refused flag that was given, if any.
#[derive(Debug, Clone, Default)]
pub struct Refused(Table);

impl Refused {
    /// Says that the flag given is not there yet.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }
}

flags!(Refused, FLAGS, Refused);
