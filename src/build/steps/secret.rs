//! What is lent to a step and is in no layer: secrets, and sockets of ssh agents.

use std::path::PathBuf;

use crate::error::{Context, Error, Result};

/// `--secret id=x,src=file` or `id=x,env=NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub id: String,
    pub from: From,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    File(PathBuf),
    Variable(String),
}

impl Secret {
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Error::usage(format!("incorrect secret flag format: {why}"));
        let (mut id, mut source, mut kind) = (None, None, None);
        for part in text.split(',') {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                wrong("should be --secret id=foo,src=bar [,env=ENV][,type=file|env]")
            })?;
            match key.to_ascii_lowercase().as_str() {
                "id" => id = Some(value.to_owned()),
                "type" if value == "file" || value == "env" => kind = Some(value.to_owned()),
                "type" => return Err(wrong("invalid secret type, must be file or env")),
                "src" | "source" => {
                    source = Some(value.to_owned());
                    kind.get_or_insert_with(|| "file".to_owned());
                }
                "env" => {
                    source = Some(value.to_owned());
                    kind = Some("env".to_owned());
                }
                _ => {
                    return Err(wrong(
                        "should be --secret id=foo,src=bar [,env=ENV][,type=file|env]",
                    ));
                }
            }
        }
        let id = id
            .filter(|id| !id.is_empty())
            .ok_or_else(|| wrong("missing id"))?;
        let source = source.unwrap_or_else(|| id.clone());
        // With neither, a variable of the secret's own name if there is one.
        let is_env = match kind.as_deref() {
            Some(kind) => kind == "env",
            None => std::env::var_os(&source).is_some(),
        };
        Ok(Self {
            from: match is_env {
                true => From::Variable(source),
                false => From::File(source.into()),
            },
            id,
        })
    }

    /// Its bytes.
    pub fn read(&self) -> Result<Vec<u8>> {
        use std::os::unix::ffi::OsStringExt;
        match &self.from {
            From::File(path) => std::fs::read(path).tried(|| format!("open {}", path.display())),
            From::Variable(name) => std::env::var_os(name)
                .map(OsStringExt::into_vec)
                .ok_or_else(|| {
                    Error::usage(format!("secret {}: there is no variable {name}", self.id))
                }),
        }
    }
}

/// `--ssh default` or `id=socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub id: String,
    pub socket: PathBuf,
}

impl Agent {
    pub fn parse(text: &str) -> Result<Self> {
        use std::os::unix::fs::FileTypeExt;
        let (id, path) = match text.split_once('=') {
            Some((id, path)) => (id, PathBuf::from(path)),
            None => {
                let socket = std::env::var_os("SSH_AUTH_SOCK").ok_or_else(|| {
                    Error::usage(format!(
                        "--ssh {text}: no socket is given, and SSH_AUTH_SOCK is not set"
                    ))
                })?;
                (text, PathBuf::from(socket))
            }
        };
        let found = path
            .metadata()
            .tried(|| format!("--ssh: open {}", path.display()))?;
        if !found.file_type().is_socket() {
            return Err(
                Error::unsupported("--ssh with keys in place of an agent's socket")
                    .hint("start an agent, `ssh-add` the key, and give its socket"),
            );
        }
        Ok(Self {
            id: id.to_owned(),
            socket: std::path::absolute(&path).unwrap_or(path),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_podman_does() {
        let parse = |text: &str| Secret::parse(text).map_err(|error| error.to_string());
        let secret = parse("id=a,src=/x/y").unwrap();
        assert_eq!(
            (&*secret.id, &secret.from),
            ("a", &From::File("/x/y".into()))
        );
        assert_eq!(
            parse("id=a,env=B").unwrap().from,
            From::Variable("B".into())
        );
        assert_eq!(
            parse("id=PATH").unwrap().from,
            From::Variable("PATH".into())
        );
        assert_eq!(
            parse("type=file,id=PATH").unwrap().from,
            From::File("PATH".into())
        );
        for text in ["src=/x", "id=", "bla", "id=a,what=b", "id=a,type=x"] {
            assert!(
                parse(text)
                    .unwrap_err()
                    .starts_with("incorrect secret flag format")
            );
        }
    }
}
