//! Flags of Podman's `pull` that there is nothing behind yet, and commands of `image` of
//! that kind.

use crate::cli::Command;
use crate::cli::args::refused::{Flag, Refused, any, flags, value};
use crate::error::{Error, Result};

/// In the order of podman-pull(1).
const PULL: &[Flag] = &[value("decryption-key"), value("signature-policy")];

pub struct OfPull(Refused);
flags!(OfPull, PULL, OfPull);

impl OfPull {
    /// Says of the first that was given that it is not there yet.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }
}

pub const SCP: Command = Command {
    names: &["image scp"],
    define: any,
    run: |_, _| Err(Error::unsupported("image scp")),
    examples: &[],
};

pub const SIGN: Command = Command {
    names: &["image sign"],
    define: any,
    run: |_, _| Err(Error::unsupported("image sign")),
    examples: &[],
};

pub const TRUST: Command = Command {
    names: &["image trust"],
    define: any,
    run: |_, _| Err(Error::unsupported("image trust")),
    examples: &[],
};
