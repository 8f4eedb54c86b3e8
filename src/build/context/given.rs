//! What a build is given: the folder of its context, its Containerfiles, what is left out.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::ignore::Ignore;
use super::remote::{self, is_git, is_url};
use crate::build::NamedContext;
use crate::build::language::{self, Containerfile};
use crate::build::steps::put;
use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::registry;
use crate::storage::{Staging, compression};
use crate::sys::file::{open_dir, open_in_root, stdin};

/// As it was asked for.
pub struct Asked<'a> {
    /// What is named CONTEXT; without one it is the folder of the first file.
    pub context: Option<&'a str>,
    /// `--file`
    pub files: &'a [PathBuf],
    /// `--ignorefile`
    pub ignore: Option<&'a Path>,
    /// How servers are spoken to.
    pub options: &'a registry::Options,
}

/// As it was found.
#[derive(Clone)]
pub struct Given {
    /// None: a Containerfile came alone.
    pub folder: Option<PathBuf>,
    pub file: Containerfile,
    pub ignore: Ignore,
}

impl Asked<'_> {
    /// Finds it; what is unpacked for it lies in `staging`.
    pub fn find(&self, engine: &Engine, staging: &Staging) -> Result<Given> {
        let (folder, file) = self.sources(engine, staging)?;
        let ignore = self.ignore(staging, folder.as_deref())?;
        Ok(Given {
            folder,
            file,
            ignore,
        })
    }

    /// The context's folder and the Containerfile.
    fn sources(
        &self,
        engine: &Engine,
        staging: &Staging,
    ) -> Result<(Option<PathBuf>, Containerfile)> {
        let mut text: Option<Vec<u8>> = None;
        let context = match self.context {
            None => {
                let first = self.files.iter().find(|it| *it != Path::new("-"));
                let Some(first) = first else {
                    return Err(Error::usage(
                        "no context directory and no Containerfile specified",
                    ));
                };
                let whole = std::path::absolute(first)?;
                whole.parent().map(Path::to_owned)
            }
            Some("-") => {
                let (found, is_archive) = from_stdin(engine, staging)?;
                match is_archive {
                    true => {
                        let folder = staging.path().join("context");
                        unpack(engine, found, &folder)
                            .map_err(|error| error.tried("unpack the context"))?;
                        Some(folder)
                    }
                    false => {
                        let mut bytes = Vec::new();
                        let mut found = found;
                        found.read_to_end(&mut bytes)?;
                        text = Some(bytes);
                        None
                    }
                }
            }
            Some(context) if is_url(context) && !is_git(context) => {
                let folder = staging.path().join("context");
                remote::folder(engine, self.options, context, &folder)
                    .tried(|| "prepping temporary context directory")?;
                Some(folder)
            }
            Some(context) => Some(folder_of(engine, context, staging)?),
        };
        if let Some(bytes) = text {
            return Ok((None, parsed("-", bytes)?));
        }
        let context = context.unwrap_or_default();
        let context = std::fs::canonicalize(&context).unwrap_or(context);
        let mut whole: Option<Containerfile> = None;
        for (name, bytes) in self.containerfiles(engine, staging, &context)? {
            let file = parsed(&name, bytes)?;
            match &mut whole {
                Some(whole) => whole.instructions.extend(file.instructions),
                None => whole = Some(file),
            }
        }
        let file = whole.expect("there is one file at least");
        Ok((Some(context), file))
    }

    /// The Containerfiles by their names.
    fn containerfiles(
        &self,
        engine: &Engine,
        staging: &Staging,
        context: &Path,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let read = |path: &Path| -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let file = opened(staging, context, path);
            // It may be a pipe of the shell's.
            file.and_then(|file| engine.read(&file).read_to_end(&mut bytes))
                .tried(|| format!("read {}", path.display()))?;
            Ok(bytes)
        };
        if self.files.is_empty() {
            for name in ["Containerfile", "Dockerfile"] {
                let path = context.join(name);
                if path.exists() {
                    return Ok(vec![(path.display().to_string(), read(&path)?)]);
                }
            }
            return Err(Error::usage(format!(
                "no Containerfile or Dockerfile specified or found in context directory, {}: no such file or directory",
                context.display()
            )));
        }
        let mut all = Vec::new();
        for path in self.files {
            let shown = path.display().to_string();
            if shown == "-" {
                let mut bytes = Vec::new();
                engine.read(&stdin()?).read_to_end(&mut bytes)?;
                all.push((shown, bytes));
                continue;
            }
            if is_url(&shown) {
                let path = staging.path().join(format!("file{}", all.len()));
                remote::fetch(engine, self.options, &shown, &path)
                    .tried(|| format!("fetch {shown}"))?;
                all.push((shown, read(&path)?));
                continue;
            }
            if shown.ends_with(".in") {
                return Err(Error::unsupported(
                    "a Containerfile for the C preprocessor (.in)",
                ));
            }
            let place = match path.exists() {
                true => path.clone(),
                false => context.join(path),
            };
            if !place.exists() {
                return Err(Error::usage(format!(
                    "the specified Containerfile or Dockerfile does not exist, {shown}: no such file or directory"
                )));
            }
            if place.is_dir() {
                return Err(Error::usage(format!(
                    "containerfile: {shown:?} cannot be path to a directory"
                )));
            }
            all.push((shown, read(&place)?));
        }
        Ok(all)
    }

    fn ignore(&self, staging: &Staging, context: Option<&Path>) -> Result<Ignore> {
        let read = |path: &Path| {
            let file = match context {
                Some(context) => opened(staging, context, path),
                None => File::open(path),
            };
            file.and_then(std::io::read_to_string)
                .tried(|| format!("read {}", path.display()))
                .and_then(|text| Ignore::parse(&text).map_err(|error| error.tried(path.display())))
        };
        if let Some(path) = self.ignore {
            return read(path);
        }
        let Some(context) = context else {
            return Ok(Ignore::default());
        };
        // A file of the Containerfile's own goes before the context's.
        let beside = self.files.first().map(|path| path.display().to_string());
        let own = beside.iter().flat_map(|file| {
            [".containerignore", ".dockerignore"].map(|end| PathBuf::from(format!("{file}{end}")))
        });
        let shared = [".containerignore", ".dockerignore"].map(|name| context.join(name));
        match own.chain(shared).find(|path| path.is_file()) {
            Some(path) => read(&path),
            None => Ok(Ignore::default()),
        }
    }
}

/// Opens `path`. Links in an archive that was unpacked do not lead out of it.
fn opened(staging: &Staging, context: &Path, path: &Path) -> std::io::Result<File> {
    let own = std::fs::canonicalize(staging.path())?;
    match path.strip_prefix(context) {
        Ok(within) if context.starts_with(own) => {
            Ok(open_in_root(&open_dir(context)?, within, OFlags::RDONLY)?.into())
        }
        _ => File::open(path),
    }
}

/// What `--build-context` says: a name, and what it means.
pub fn named(text: &str) -> Result<(String, NamedContext)> {
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(Error::usage(format!(
            "while parsing additional build context: {text:?}: must be NAME=VALUE"
        )));
    };
    let image = ["container-image://", "docker-image://", "docker://"]
        .iter()
        .find_map(|prefix| value.strip_prefix(prefix));
    let context = match image {
        Some(image) => NamedContext::Image(image.to_owned()),
        None if is_git(value) => return Err(remote::no_git(&format!("--build-context {value}"))),
        None if is_url(value) => NamedContext::Url(value.to_owned()),
        None if value.contains("://") => {
            return Err(Error::unsupported(format_args!("--build-context {value}")));
        }
        None => {
            let folder = std::fs::canonicalize(value)
                .tried(|| format!("--build-context {name}: {value}"))?;
            if !folder.is_dir() {
                return Err(Error::usage(format!(
                    "--build-context {name}: {value} is no folder"
                )));
            }
            NamedContext::Folder(folder)
        }
    };
    Ok((name.to_owned(), context))
}

fn parsed(name: &str, bytes: Vec<u8>) -> Result<Containerfile> {
    let text =
        String::from_utf8(bytes).map_err(|_| Error::usage(format!("{name} is not UTF-8")))?;
    if text.trim().is_empty() {
        return Err(Error::usage(format!("no contents in {name:?}")));
    }
    language::parse(name, &text)
}

/// What standard input has, and whether that is an archive.
fn from_stdin(engine: &Engine, staging: &Staging) -> Result<(File, bool)> {
    let path = staging.path().join("stdin");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .tried(|| format!("make {}", path.display()))?;
    let stdin = stdin()?;
    std::io::copy(&mut engine.read(&stdin), &mut file).tried(|| "read standard input")?;
    file.rewind()?;
    let is_archive = is_archive(&mut file)?;
    Ok((file, is_archive))
}

pub fn is_archive(file: &mut File) -> Result<bool> {
    let mut head = [0; 512];
    let mut count = 0;
    while count < head.len() {
        match file.read(&mut head[count..])? {
            0 => break,
            more => count += more,
        }
    }
    file.rewind()?;
    let head = &head[..count];
    let is_compressed = compression::kind(head) != compression::Kind::Plain;
    Ok(is_compressed || head.get(257..262) == Some(b"ustar"))
}

/// The folder of a context: one that is there, or one that an archive is unpacked into.
fn folder_of(engine: &Engine, context: &str, staging: &Staging) -> Result<PathBuf> {
    if is_git(context) {
        return Err(remote::no_git(&format!("the context {context}")));
    }
    let path = PathBuf::from(context);
    if path.is_file() {
        let mut file = File::open(&path).tried(|| format!("open {context}"))?;
        if is_archive(&mut file)? {
            let folder = staging.path().join("context");
            unpack(engine, file, &folder)
                .map_err(|error| error.tried(format_args!("unpack {context}")))?;
            return Ok(folder);
        }
    }
    if !path.is_dir() {
        let whole = std::path::absolute(&path).unwrap_or(path);
        return Err(Error::usage(format!(
            "context must be a directory: {:?}",
            whole.display().to_string()
        )));
    }
    Ok(path)
}

/// Unpacks an archive that is a context into the new folder `into`, as the caller.
pub fn unpack(engine: &Engine, from: File, into: &Path) -> Result<()> {
    std::fs::create_dir(into).tried(|| format!("make {}", into.display()))?;
    let owner = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let how = put::How {
        to: "/",
        owner: Some(owner),
        is_callers: true,
        chmod: None,
        unpack: true,
        owns_unpacked: true,
        single: false,
        many: false,
    };
    engine.apart(|| {
        let mut tree = put::Tree::new(crate::storage::walk::open_root(into)?);
        tree.unpack(from, Path::new(""), &how)?;
        tree.finish().map(drop)
    })
}
