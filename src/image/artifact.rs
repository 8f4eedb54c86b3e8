//! Artifacts: files that a manifest list has beside images (image-spec, artifacts).
//!
//! The files stay where they are until the list is pushed, as with Podman; what has
//! changed by then is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::Digest as _;

use super::lists::{Entry, Place, Source};
use super::manifest::{OCI_CONFIG, OCI_MANIFEST};
use crate::error::{Context, Error, Result};
use crate::id::Digest;

/// What Podman calls one whose kind nobody says.
const UNKNOWN: &str = "application/vnd.unknown.artifact.v1";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const TITLE: &str = "org.opencontainers.image.title";

/// An artifact that is to be made.
#[derive(Debug, Clone, Default)]
pub struct Artifact<'a> {
    pub files: &'a [String],
    pub kind: Option<&'a str>,
    pub config: Option<&'a Path>,
    pub config_type: Option<&'a str>,
    /// None: guessed for each file.
    pub layer_type: Option<&'a str>,
    /// Whether each file's name is kept.
    pub titles: bool,
}

/// A descriptor in Go's order of keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Line<'a>,
    layers: Vec<Line<'a>>,
}

impl Artifact<'_> {
    /// The entry that a list gets for it.
    pub fn entry(&self) -> Result<Entry> {
        let config = match self.config {
            Some(path) => std::fs::read(path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::other(format!(
                    "open {}: no such file or directory",
                    path.display()
                )),
                _ => Error::from(error).tried(format_args!("open {}", path.display())),
            })?,
            None => b"{}".to_vec(),
        };
        let config_type = match (self.config_type, self.config) {
            (Some(given), _) => given,
            (None, Some(_)) => OCI_CONFIG,
            (None, None) => EMPTY,
        };
        let mut files = Vec::new();
        let mut found = Vec::new();
        for name in self.files {
            let path = absolute(Path::new(name));
            let (digest, size, head) =
                seen(&path).tried(|| format!("reading {name:?} to determine its digest"))?;
            found.push((digest, size, media_type(&path, &head)));
            files.push(path);
        }
        let titles: Vec<String> = files
            .iter()
            .map(|path| {
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into()
            })
            .collect();
        let layers = found.iter().zip(&titles);
        let layers = layers.map(|((digest, size, guessed), title)| Line {
            media_type: self.layer_type.unwrap_or(guessed),
            digest: digest.clone(),
            size: *size,
            annotations: self
                .titles
                .then(|| BTreeMap::from([(TITLE, title.as_str())])),
            data: None,
        });
        let kind = self.kind.unwrap_or(UNKNOWN);
        let manifest = serde_json::to_string(&Written {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            artifact_type: kind,
            config: Line {
                media_type: config_type,
                digest: Digest::of(&config),
                size: config.len() as u64,
                annotations: None,
                data: Some(BASE64_STANDARD.encode(&config)),
            },
            layers: layers.collect(),
        })?;
        Ok(Entry {
            media_type: OCI_MANIFEST.to_owned(),
            digest: Digest::of(manifest.as_bytes()),
            size: manifest.len() as u64,
            platform: Place::default(),
            annotations: BTreeMap::new(),
            artifact_type: Some(kind.to_owned()),
            source: Source::Files {
                manifest,
                config: BASE64_STANDARD.encode(&config),
                files,
            },
        })
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A file's digest, its size and its first bytes.
fn seen(path: &Path) -> Result<(Digest, u64, Vec<u8>)> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::other(format!(
            "open {}: no such file or directory",
            path.display()
        )),
        _ => Error::from(error).tried(format_args!("open {}", path.display())),
    })?;
    let mut hasher = sha2::Sha256::default();
    let (mut head, mut size) = (Vec::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => {
                if head.len() < HEAD {
                    let more = (HEAD - head.len()).min(count);
                    head.extend_from_slice(&buffer[..more]);
                }
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
    let digest = format!("sha256:{}", crate::id::hex(&hasher.finalize())).parse()?;
    Ok((digest, size, head))
}

/// So much of a file tells what it is.
const HEAD: usize = 512;

/// What a file is, by its name as /etc/mime.types and Go's own table have it, else by
/// its first bytes (Go's mime and net/http).
fn media_type(path: &Path, head: &[u8]) -> String {
    let extension = path.extension().and_then(|it| it.to_str());
    let known = extension.and_then(|extension| {
        let table = std::fs::read_to_string("/etc/mime.types").unwrap_or_default();
        let lower = extension.to_lowercase();
        [extension, &lower]
            .iter()
            .find_map(|it| by_table(&table, it))
            .or_else(|| by_extension(&lower).map(str::to_owned))
    });
    known.unwrap_or_else(|| by_content(head).to_owned())
}

/// The last line of mime.types(5) that has the extension.
fn by_table(table: &str, extension: &str) -> Option<String> {
    let lines = table.lines().rev();
    lines
        .map(|line| line.split('#').next().unwrap_or_default())
        .find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let kind = words.next()?;
            words.any(|it| it == extension).then(|| kind.to_owned())
        })
}

fn by_extension(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "avif" => "image/avif",
        "css" => "text/css",
        "gif" => "image/gif",
        "htm" | "html" => "text/html",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        "webp" => "image/webp",
        "xml" => "text/xml",
        _ => return None,
    })
}

/// The part of the MIME Sniffing Standard that files of artifacts are likely to be.
fn by_content(head: &[u8]) -> &'static str {
    let text = head.trim_ascii_start();
    let is_tag = |tag: &str| {
        text.len() > tag.len()
            && text[..tag.len()].eq_ignore_ascii_case(tag.as_bytes())
            && matches!(text[tag.len()], b' ' | b'>')
    };
    const TAGS: &[&str] = &[
        "<!DOCTYPE HTML",
        "<HTML",
        "<HEAD",
        "<SCRIPT",
        "<IFRAME",
        "<H1",
        "<DIV",
        "<FONT",
        "<TABLE",
        "<A",
        "<STYLE",
        "<TITLE",
        "<B",
        "<BODY",
        "<BR",
        "<P",
        "<!--",
    ];
    if TAGS.iter().any(|tag| is_tag(tag)) {
        return "text/html";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml";
    }
    const SIGNATURES: &[(&[u8], &str)] = &[
        (b"%PDF-", "application/pdf"),
        (b"%!PS-Adobe-", "application/postscript"),
        (b"\xfe\xff", "text/plain"),
        (b"\xff\xfe", "text/plain"),
        (b"\xef\xbb\xbf", "text/plain"),
        (b"\0\0\x01\0", "image/x-icon"),
        (b"BM", "image/bmp"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"OggS\0", "application/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
        (b"\x1f\x8b\x08", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"Rar!\x1a\x07", "application/x-rar-compressed"),
        (b"\0asm", "application/wasm"),
    ];
    let known = SIGNATURES.iter().find(|(start, _)| head.starts_with(start));
    if let Some((_, kind)) = known {
        return kind;
    }
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    match text.iter().any(is_binary) {
        true => "application/octet-stream",
        false => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_podman_takes_them_for() {
        // Recorded from podman 5.8.
        for (head, kind) in [
            (&b"{\"a\":1}\n"[..], "text/plain"),
            (b"\x1f\x8b\x08\0", "application/x-gzip"),
            (b"\0\x01\x02", "application/octet-stream"),
            (b"", "text/plain"),
            (b"<html><body>\n", "text/html"),
            (b"%PDF-1.4", "application/pdf"),
            (b"<?xml version=\"1.0\"?>", "text/xml"),
            (b"#!/bin/sh\n", "text/plain"),
            ("\u{e9}\n".as_bytes(), "text/plain"),
            (b"PK\x03\x04aaaa", "application/zip"),
            (b"<htmlx>", "text/plain"),
        ] {
            assert_eq!(by_content(head), kind, "{head:?}");
        }
        let table = "# a comment\ntext/x a b\napplication/x-sh sh # more\ntext/y b\n";
        assert_eq!(by_table(table, "sh").as_deref(), Some("application/x-sh"));
        assert_eq!(by_table(table, "b").as_deref(), Some("text/y"));
        assert_eq!(by_table(table, "more"), None);
    }
}
