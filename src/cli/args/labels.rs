//! Labels and annotations.

use std::collections::BTreeMap;

use crate::cli::args::env::lines;
use crate::cli::args::host::Host;
use crate::error::{Error, Result, words};

/// Flags of labels and annotations.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Args {
    /// Add an annotation for the runtime
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,

    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,

    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
}

impl Args {
    /// The image's labels, those of files, those of flags: the later wins.
    pub fn labels(
        &self,
        image: &BTreeMap<String, String>,
        host: &dyn Host,
    ) -> Result<BTreeMap<String, String>> {
        let mut labels = image.clone();
        self.read_labels(&mut labels, host)
            .map_err(|error| error.tried("unable to process labels"))?;
        Ok(labels)
    }

    fn read_labels(&self, labels: &mut BTreeMap<String, String>, host: &dyn Host) -> Result<()> {
        for file in &self.label_file {
            let text = host
                .read(file.as_ref())
                .map_err(|error| Error::usage(format!("open {file}: {}", words(&error))))?;
            for line in lines(&text) {
                add_line(labels, line, host)?;
            }
        }
        for label in &self.label {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            if key.is_empty() {
                return Err(Error::usage(format!("invalid label format: {label:?}")));
            }
            labels.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    pub fn annotations(&self) -> Result<BTreeMap<String, String>> {
        self.annotation
            .iter()
            .map(|text| match text.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None => Err(Error::usage("annotations must be formatted KEY=VALUE")),
            })
            .collect()
    }
}

/// A line of a label file. A key alone takes its value from the caller's
/// environment and is left out without one: Podman reads it as a file of variables.
fn add_line(labels: &mut BTreeMap<String, String>, line: &str, host: &dyn Host) -> Result<()> {
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (line, None),
    };
    if key.is_empty() {
        return Err(Error::usage(format!(
            "invalid environment variable: {line:?}"
        )));
    }
    if key.contains([' ', '\t']) {
        return Err(Error::usage(format!(
            "name {key:?} has white spaces, poorly formatted name"
        )));
    }
    if let Some(value) = value.or_else(|| host.variable(key)) {
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::host::tests::Fake;

    fn args(label: &[&str], files: &[&str], annotation: &[&str]) -> Args {
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        Args {
            annotation: own(annotation),
            label: own(label),
            label_file: own(files),
        }
    }

    #[test]
    fn labels_are_read_as_podman_does() {
        let mut host = Fake::with_env(&[("HOME", "/home/me")]);
        for (name, text) in [
            ("good", "a=1\n#c\n\n b=x y\nc\nHOME\n"),
            ("l2", "=x\n"),
            ("l5", "a b\n"),
        ] {
            host.files.insert(name.into(), text.into());
        }
        let image = BTreeMap::from([("l1".to_owned(), "img".to_owned())]);
        let labels = args(&["a=9", "z", "y=", "q=b=c"], &["good"], &[])
            .labels(&image, &host)
            .unwrap();
        let shown: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            shown,
            [
                "HOME=/home/me",
                "a=9",
                "b=x y",
                "l1=img",
                "q=b=c",
                "y=",
                "z="
            ]
        );
        for (label, file, why) in [
            (&[""][..], &[][..], "invalid label format: \"\""),
            (&["=x"], &[], "invalid label format: \"=x\""),
            (&[], &["/nope"], "open /nope: no such file or directory"),
            (&[], &["l2"], "invalid environment variable: \"=x\""),
            (
                &[],
                &["l5"],
                "name \"a b\" has white spaces, poorly formatted name",
            ),
        ] {
            assert_eq!(
                args(label, file, &[])
                    .labels(&image, &host)
                    .unwrap_err()
                    .to_string(),
                format!("unable to process labels: {why}")
            );
        }
    }

    #[test]
    fn annotations_have_a_value() {
        let good = args(&[], &[], &["a=b=c", "x=", "=x"])
            .annotations()
            .unwrap();
        assert_eq!(good["a"], "b=c");
        assert_eq!(good[""], "x");
        assert_eq!(
            args(&[], &[], &["a"])
                .annotations()
                .unwrap_err()
                .to_string(),
            "annotations must be formatted KEY=VALUE"
        );
    }
}
