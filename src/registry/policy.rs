//! Which images may come in at all (containers-policy.json(5)).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::settings::Settings;

#[derive(Deserialize)]
struct Policy {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

#[derive(Deserialize)]
struct Requirement {
    #[serde(rename = "type")]
    kind: String,
}

/// Fails where the policy does not let in the image `name` (`quay.io/team/tool`).
/// Where there is no policy, everything may come in.
pub fn check(settings: &Settings, name: &str, source: &str) -> Result<()> {
    let own = settings.home.join(".config/containers/policy.json");
    for path in [own, PathBuf::from("/etc/containers/policy.json")] {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).tried(|| format!("read {}", path.display())),
        };
        let policy: Policy = serde_json::from_slice(&bytes)
            .tried(|| format!("invalid policy in {}", path.display()))?;
        return policy.check(name, source);
    }
    Ok(())
}

impl Policy {
    fn check(&self, name: &str, source: &str) -> Result<()> {
        let wanted = self.requirements(name);
        if wanted.is_empty() {
            return Err(
                Error::other("List of verification policy requirements must not be empty")
                    .tried("Source image rejected"),
            );
        }
        for requirement in wanted {
            match requirement.kind.as_str() {
                "insecureAcceptAnything" => {}
                "reject" => {
                    return Err(Error::other(format!(
                        "Source image rejected: Running image {source} is rejected by policy."
                    )));
                }
                other => {
                    return Err(Error::unsupported(format_args!(
                        "a policy.json that asks for {other}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Those of the longest scope that the name is in.
    fn requirements(&self, name: &str) -> &[Requirement] {
        let Some(scopes) = self.transports.get("docker") else {
            return &self.default;
        };
        let mut part = name;
        loop {
            if let Some(found) = scopes.get(part) {
                return found;
            }
            match part.rsplit_once('/') {
                Some((shorter, _)) => part = shorter,
                None => break,
            }
        }
        let mut host = part;
        while let Some((_, parent)) = host.split_once('.') {
            if let Some(found) = scopes.get(&format!("*.{parent}")) {
                return found;
            }
            host = parent;
        }
        scopes.get("").map_or(&self.default, |found| found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_scope_decides() {
        let policy: Policy = serde_json::from_str(
            r#"{"default": [{"type": "reject"}], "transports": {"docker": {
                "quay.io": [{"type": "insecureAcceptAnything"}],
                "quay.io/bad": [{"type": "reject"}],
                "*.example.com": [{"type": "insecureAcceptAnything"}],
                "quay.io/signed": [{"type": "signedBy", "keyType": "GPGKeys"}]}}}"#,
        )
        .unwrap();
        let says = |name: &str| policy.check(name, "docker://x").is_ok();
        for good in ["quay.io/a/b", "quay.io/badly/x", "a.b.example.com/x"] {
            assert!(says(good), "{good}");
        }
        for bad in [
            "quay.io/bad/x",
            "docker.io/x",
            "example.com/x",
            "quay.io/signed/x",
        ] {
            assert!(!says(bad), "{bad}");
        }
    }
}
