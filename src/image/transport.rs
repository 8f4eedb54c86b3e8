//! Where images lie that are in no registry (containers-transports(5)).
//!
//! ```text
//! dir:PATH    oci:PATH[:REFERENCE]    oci-archive:PATH[:REFERENCE]    docker-archive:PATH[:NAME]
//! ```

use std::fmt;
use std::path::PathBuf;

use super::{Layout, Reference};
use crate::error::{Error, Kind, Result};

/// A place on this machine that images are read from or written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub layout: Layout,
    pub path: PathBuf,
    /// Which image there, as it was typed; of a docker-archive in full.
    pub reference: Option<String>,
}

/// Transports that Podman has and we do not.
const OTHERS: [&str; 5] = [
    "containers-storage:",
    "docker-daemon:",
    "ostree:",
    "sif:",
    "tarball:",
];

impl Place {
    /// What `text` names; none if that is an image in a registry or in the store.
    /// `doing` says what for, should there be no such transport.
    pub fn parse(text: &str, doing: &str) -> Result<Option<Self>> {
        let Some((transport, rest)) = text.split_once(':') else {
            return Ok(None);
        };
        let layout = match transport {
            "dir" => Layout::DockerFolder,
            "oci" => Layout::OciFolder,
            "oci-archive" => Layout::OciArchive,
            "docker-archive" => Layout::DockerArchive,
            _ => {
                return match OTHERS.iter().find(|it| text.starts_with(**it)) {
                    Some(it) => Err(Error::unsupported(format_args!("{doing} {it}"))),
                    None => Ok(None),
                };
            }
        };
        let (path, reference) = match rest.split_once(':') {
            // A folder's path may hold colons.
            _ if layout == Layout::DockerFolder => (rest, None),
            None => (rest, None),
            Some((path, "")) => (path, None),
            Some((path, reference)) => (path, Some(reference.to_owned())),
        };
        if path.is_empty() && layout == Layout::DockerArchive {
            return Err(Error::usage(format!(
                "docker-archive reference {rest} isn't of the form <path>[:<reference>]"
            )));
        }
        let reference = match reference {
            Some(name) if layout == Layout::DockerArchive => Some(tagged(&name)?.to_string()),
            reference => reference,
        };
        Ok(Some(Self {
            layout,
            path: PathBuf::from(path),
            reference,
        }))
    }

    pub fn transport(&self) -> &'static str {
        match self.layout {
            Layout::DockerFolder => "dir",
            Layout::OciFolder => "oci",
            Layout::OciArchive => "oci-archive",
            Layout::DockerArchive => "docker-archive",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport(), self.path.display())?;
        match &self.reference {
            Some(reference) => write!(f, ":{reference}"),
            None => Ok(()),
        }
    }
}

/// A name in a docker-archive has a tag.
fn tagged(name: &str) -> Result<Reference> {
    let reference = Reference::normalized(name)
        .map_err(|error| match error.kind() {
            Kind::Usage => error.tried("docker-archive parsing reference"),
            _ => error,
        })?
        .or_latest();
    match reference.tag() {
        Some(_) => Ok(reference),
        None => Err(Error::usage(format!(
            "reference does not include a tag: {reference}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_podman_reads_them() {
        let place = |layout, path: &str, reference: Option<&str>| {
            Some(Place {
                layout,
                path: path.into(),
                reference: reference.map(str::to_owned),
            })
        };
        for (text, wanted) in [
            ("dir:/a:b", place(Layout::DockerFolder, "/a:b", None)),
            ("dir:", place(Layout::DockerFolder, "", None)),
            ("oci:/a", place(Layout::OciFolder, "/a", None)),
            ("oci:/a:", place(Layout::OciFolder, "/a", None)),
            ("oci:a:B:c", place(Layout::OciFolder, "a", Some("B:c"))),
            ("oci-archive:a:1", place(Layout::OciArchive, "a", Some("1"))),
            ("docker-archive:a", place(Layout::DockerArchive, "a", None)),
            (
                "docker-archive:a:b",
                place(
                    Layout::DockerArchive,
                    "a",
                    Some("docker.io/library/b:latest"),
                ),
            ),
            (
                "docker-archive:a:b.c/d:5",
                place(Layout::DockerArchive, "a", Some("b.c/d:5")),
            ),
            ("alpine", None),
            ("alpine:3", None),
            ("docker://alpine", None),
            ("localhost:5000/dir:1", None),
        ] {
            assert_eq!(Place::parse(text, "reading").unwrap(), wanted, "{text}");
        }
        for (text, wanted) in [
            (
                "docker-archive:",
                "docker-archive reference  isn't of the form <path>[:<reference>]",
            ),
            (
                "docker-daemon:a:b",
                "reading docker-daemon: is not supported by coracle yet",
            ),
        ] {
            let error = Place::parse(text, "reading").unwrap_err();
            assert_eq!(error.to_string(), wanted, "{text}");
        }
    }
}
