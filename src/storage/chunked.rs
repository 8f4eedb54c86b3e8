//! zstd:chunked: a layer as zstd of which each file can be fetched by itself.
//!
//! ```text
//! frame …        headers and padding of the tar; each file's content in frames of its
//!                own, cut where its bytes say so: all of them together are the tar
//! skippable      the table of contents: JSON in zstd
//! skippable      tar-split: the tar but the contents of its files, lines of JSON in zstd
//! skippable      where these two are, seven numbers and a magic word
//! ```
//!
//! Who does not know it reads a plain zstd. Who does (containers/storage, pkg/chunked)
//! asks for the end first, as annotations of the layer say where, and then for what it
//! has not already.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::OFlags;
use serde::Serialize;
use sha2::Digest as _;
use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

use super::layer::{clean, is_unpacked};
use super::tar::{Entry, Kind, Reader};
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::sys::file::{open_dir, open_in_root};

/// The annotation that has the digest of the table of contents.
pub const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";
const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
const TAR_SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";

/// Ends the blob.
const MAGIC: &[u8; 8] = b"GNUlInUx";
/// Of frames that are passed over (RFC 8878, 3.1.2).
const SKIPPABLE: u32 = 0x184d_2a50;
/// The one kind of table that there is.
const KIND: u64 = 1;

/// Writes the layer that lies at `from`; gives the annotations that belong to it. None
/// where the tar has what the table cannot say: then `out` holds nothing of use.
pub fn write(from: &Path, out: impl Write, level: i32) -> Result<Option<BTreeMap<String, String>>> {
    let headers = File::open(from.join("headers.zst")).tried(|| "open headers.zst")?;
    let headers = BufReader::with_capacity(256 << 10, zstd::stream::Decoder::new(headers)?);
    let root = open_dir(&from.join("diff")).tried(|| "open diff")?;
    let mut archive = Reader::recorded(headers, Vec::new());
    let mut frames = Frames::new(out, level)?;
    let mut split = Split::new(level)?;
    let mut table: Vec<Row> = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let segment = std::mem::take(archive.record_mut());
        frames.write(&segment)?;
        split.segment(&segment)?;
        let Some(row) = Row::of(&entry, archive.beside()) else {
            return Ok(None);
        };
        let name = row.name.clone();
        if entry.size == 0 {
            split.file(&name, 0, None)?;
            table.push(row);
            continue;
        }
        let mut content = Content::default();
        let path = clean(&entry.path);
        let tried = || String::from_utf8_lossy(&path).into_owned();
        if is_unpacked(&path) {
            let file = open_in_root(&root, raw(&path), OFlags::RDONLY | OFlags::NOFOLLOW);
            let mut file = File::from(file.tried(tried)?).take(archive.left_out());
            let mut buffer = vec![0; 64 << 10];
            loop {
                match file.read(&mut buffer).tried(tried)? {
                    0 => break,
                    count => content.take(&buffer[..count], &mut frames)?,
                }
            }
        } else {
            archive.content(|piece| Ok(content.take(piece, &mut frames)?))?;
        }
        if content.size + content.zeros != entry.size {
            return Err(Error::other("unexpected EOF")).tried(tried);
        }
        let sum = content.sum();
        content.rows(row, &mut frames, &mut table)?;
        split.file(&name, entry.size, Some(sum))?;
    }
    let (rest, _) = archive.finish()?;
    frames.write(&rest)?;
    split.segment(&rest)?;
    frames.end()?;
    finish(frames, split, &table).map(Some)
}

fn raw(path: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(path))
}

/// What stands behind the tar.
fn finish<W: Write>(
    mut frames: Frames<W>,
    split: Split,
    table: &[Row],
) -> Result<BTreeMap<String, String>> {
    let (split, split_size) = split.finish()?;
    let split_digest = Digest::of(&split);
    let json = serde_json::to_vec(&Table {
        version: 1,
        entries: table,
        tar_split_digest: split_digest.as_str(),
    })?;
    let packed = zstd::bulk::compress(&json, 9)?;
    let table_at = frames.skippable(&packed)?;
    let split_at = frames.skippable(&split)?;
    let numbers = [
        table_at,
        packed.len() as u64,
        json.len() as u64,
        KIND,
        split_at,
        split.len() as u64,
        split_size,
    ];
    let mut end: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
    end.extend(MAGIC);
    frames.skippable(&end)?;
    frames.to.flush()?;
    let (table_size, split_packed) = (packed.len(), split.len());
    Ok(BTreeMap::from([
        (CHECKSUM.to_owned(), Digest::of(&packed).to_string()),
        (
            POSITION.to_owned(),
            format!("{table_at}:{table_size}:{}:{KIND}", json.len()),
        ),
        (
            TAR_SPLIT.to_owned(),
            format!("{split_at}:{split_packed}:{split_size}"),
        ),
    ]))
}

/// The table of contents.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a> {
    version: u32,
    entries: &'a [Row],
    tar_split_digest: &'a str,
}

/// An entry of the tar, or a further chunk of the one before it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(rename = "accesstime", skip_serializing_if = "Option::is_none")]
    accessed: Option<String>,
    #[serde(rename = "changetime", skip_serializing_if = "Option::is_none")]
    changed: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    end_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    chunk_digest: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    chunk_type: &'static str,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Row {
    /// None of what JSON or Go's reading of it cannot hold.
    fn of(entry: &Entry, beside: &super::tar::Beside) -> Option<Self> {
        if !beside.is_all || entry.sparse.is_some() {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let xattrs = entry.xattrs.iter();
        Some(Self {
            kind: match entry.kind {
                Kind::File => "reg",
                Kind::HardLink => "hardlink",
                Kind::Symlink => "symlink",
                Kind::CharDevice => "char",
                Kind::BlockDevice => "block",
                Kind::Folder => "dir",
                Kind::Fifo => "fifo",
            },
            name: text(&entry.path)?,
            link_name: text(&entry.link)?,
            mode: beside.mode,
            size: entry.size,
            uid: entry.uid.into(),
            gid: entry.gid.into(),
            modified: Some(moment(entry.mtime)?),
            accessed: match beside.accessed {
                Some(at) => Some(moment(at)?),
                None => None,
            },
            changed: match beside.changed {
                Some(at) => Some(moment(at)?),
                None => None,
            },
            dev_major: entry.device.0.into(),
            dev_minor: entry.device.1.into(),
            xattrs: xattrs
                .map(|(name, value)| (name.clone(), BASE64_STANDARD.encode(value)))
                .collect(),
            ..Self::default()
        })
    }
}

/// As Go writes it.
fn moment((seconds, nanoseconds): (i64, u32)) -> Option<String> {
    let at = jiff::Timestamp::new(seconds, nanoseconds.try_into().ok()?).ok()?;
    Some(at.to_string())
}

/// A chunk of a file: where it stands in the blob and in the file.
struct Chunk {
    offset: u64,
    at: u64,
    size: u64,
    digest: String,
    is_zeros: bool,
}

/// A file's content on its way into frames.
#[derive(Default)]
struct Content {
    size: u64,
    digest: sha2::Sha256,
    sum: Sum,
    rolling: Rolling,
    /// Zeros that were not yet written: they may be many.
    zeros: u64,
    chunk: Option<Open>,
    chunks: Vec<Chunk>,
}

/// The chunk that is being written.
struct Open {
    offset: u64,
    at: u64,
    digest: sha2::Sha256,
}

/// So many zeros in a row are a chunk of their own.
const HOLE: u64 = 1 << 10;

impl Content {
    fn take(&mut self, mut bytes: &[u8], frames: &mut Frames<impl Write>) -> io::Result<()> {
        self.digest.update(bytes);
        self.sum.add(bytes);
        while !bytes.is_empty() {
            if bytes[0] == 0 {
                let count = bytes.iter().take_while(|it| **it == 0).count();
                self.zeros += count as u64;
                bytes = &bytes[count..];
                continue;
            }
            self.flush_zeros(frames)?;
            let end = bytes.iter().position(|it| *it == 0);
            let run = &bytes[..end.unwrap_or(bytes.len())];
            self.data(run, frames)?;
            bytes = &bytes[run.len()..];
        }
        Ok(())
    }

    fn flush_zeros(&mut self, frames: &mut Frames<impl Write>) -> io::Result<()> {
        const ZEROS: &[u8] = &[0; 4096];
        let count = std::mem::take(&mut self.zeros);
        if count >= HOLE {
            self.cut(frames, false)?;
        }
        let mut left = count;
        while left > 0 {
            let piece = &ZEROS[..left.min(ZEROS.len() as u64) as usize];
            match count >= HOLE {
                true => self.put(piece, frames)?,
                false => self.data(piece, frames)?,
            }
            left -= piece.len() as u64;
        }
        if count >= HOLE {
            self.rolling.zeros();
            self.cut(frames, true)?;
        }
        Ok(())
    }

    /// Writes bytes, and ends the chunk where they say so.
    fn data(&mut self, mut bytes: &[u8], frames: &mut Frames<impl Write>) -> io::Result<()> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|it| self.rolling.ends_with(*it));
            let (chunk, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
            self.put(chunk, frames)?;
            if end.is_some() {
                self.cut(frames, false)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], frames: &mut Frames<impl Write>) -> io::Result<()> {
        let open = match &mut self.chunk {
            Some(open) => open,
            closed => closed.insert(Open {
                offset: frames.end()?,
                at: self.size,
                digest: sha2::Sha256::default(),
            }),
        };
        open.digest.update(bytes);
        self.size += bytes.len() as u64;
        frames.write(bytes)
    }

    fn cut(&mut self, frames: &mut Frames<impl Write>, is_zeros: bool) -> io::Result<()> {
        let Some(open) = self.chunk.take() else {
            return Ok(());
        };
        frames.end()?;
        self.chunks.push(Chunk {
            offset: open.offset,
            at: open.at,
            size: self.size - open.at,
            digest: format!("sha256:{}", crate::id::hex(&open.digest.finalize())),
            is_zeros,
        });
        Ok(())
    }

    fn sum(&self) -> [u8; 8] {
        self.sum.value()
    }

    /// Ends the file: its row, and one for each further chunk.
    fn rows(
        mut self,
        row: Row,
        frames: &mut Frames<impl Write>,
        table: &mut Vec<Row>,
    ) -> io::Result<()> {
        let is_hole = self.zeros >= HOLE;
        self.flush_zeros(frames)?;
        self.cut(frames, is_hole)?;
        let mut row = Row {
            digest: format!("sha256:{}", crate::id::hex(&self.digest.finalize())),
            end_offset: frames.end()?,
            ..row
        };
        let is_one = self.chunks.len() == 1;
        for chunk in self.chunks {
            let next = Row {
                kind: "chunk",
                name: row.name.clone(),
                ..Row::default()
            };
            let mut row = std::mem::replace(&mut row, next);
            row.offset = chunk.offset;
            if !is_one {
                row.chunk_size = chunk.size;
                row.chunk_offset = chunk.at;
                row.chunk_digest = chunk.digest;
                row.chunk_type = if chunk.is_zeros { "zeros" } else { "" };
            }
            table.push(row);
        }
        Ok(())
    }
}

/// A sum over the last bytes that tells where a chunk ends: the same content is cut at
/// the same places, whatever stands before it. It is bup's, as containers/storage has
/// it, so that what that knows already is found in what we write.
struct Rolling {
    window: [u8; Self::WINDOW],
    at: usize,
    low: u32,
    high: u32,
}

impl Default for Rolling {
    fn default() -> Self {
        let window = Self::WINDOW as u32;
        Self {
            window: [0; Self::WINDOW],
            at: 0,
            low: window * Self::SHIFT,
            high: window * (window - 1) * Self::SHIFT,
        }
    }
}

impl Rolling {
    const WINDOW: usize = 64;
    const SHIFT: u32 = 31;
    /// A chunk of 64 KiB is as likely as none.
    const MASK: u32 = (1 << 16) - 1;

    /// Takes a byte; whether a chunk ends behind it.
    fn ends_with(&mut self, byte: u8) -> bool {
        let gone = std::mem::replace(&mut self.window[self.at], byte);
        self.at = (self.at + 1) % Self::WINDOW;
        let gone = u32::from(gone);
        self.low = self.low.wrapping_add(u32::from(byte)).wrapping_sub(gone);
        self.high = self
            .high
            .wrapping_add(self.low)
            .wrapping_sub(Self::WINDOW as u32 * (gone + Self::SHIFT));
        self.high & Self::MASK == Self::MASK
    }

    /// Takes more zeros than the window has bytes.
    fn zeros(&mut self) {
        *self = Self {
            at: self.at,
            ..Self::default()
        };
    }
}

/// CRC-64 as ISO 3309 has it, which is tar-split's.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u64;
            let mut bit = 0;
            while bit < 8 {
                value = match value & 1 {
                    1 => value >> 1 ^ 0xd800_0000_0000_0000,
                    _ => value >> 1,
                };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };

    fn add(&mut self, bytes: &[u8]) {
        let mut value = !self.0;
        for byte in bytes {
            value = Self::TABLE[usize::from(value as u8 ^ byte)] ^ value >> 8;
        }
        self.0 = !value;
    }

    fn value(&self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// tar-split's lines.
struct Split {
    to: zstd::stream::write::Encoder<'static, Vec<u8>>,
    size: u64,
    position: u64,
}

/// The longest piece of tar on one line.
const SEGMENT: usize = 1 << 20;

impl Split {
    fn new(level: i32) -> io::Result<Self> {
        Ok(Self {
            to: zstd::stream::write::Encoder::new(Vec::new(), level)?,
            size: 0,
            position: 0,
        })
    }

    fn segment(&mut self, bytes: &[u8]) -> Result<()> {
        #[derive(Serialize)]
        struct Line {
            #[serde(rename = "type")]
            kind: u32,
            payload: String,
            position: u64,
        }
        for piece in bytes.chunks(SEGMENT) {
            let position = self.position;
            self.line(&Line {
                kind: 2,
                payload: BASE64_STANDARD.encode(piece),
                position,
            })?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, size: u64, sum: Option<[u8; 8]>) -> Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            #[serde(rename = "type")]
            kind: u32,
            name: &'a str,
            #[serde(skip_serializing_if = "is_zero")]
            size: u64,
            payload: Option<String>,
            position: u64,
        }
        let position = self.position;
        self.line(&Line {
            kind: 1,
            name,
            size,
            payload: sum.map(|sum| BASE64_STANDARD.encode(sum)),
            position,
        })
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.size += text.len() as u64;
        self.position += 1;
        Ok(self.to.write_all(&text)?)
    }

    /// Its lines, packed, and their size before that.
    fn finish(self) -> Result<(Vec<u8>, u64)> {
        Ok((self.to.finish()?, self.size))
    }
}

/// Frames of zstd, one behind the other.
struct Frames<W> {
    to: W,
    written: u64,
    encoder: Encoder<'static>,
    packed: Vec<u8>,
    is_open: bool,
}

impl<W: Write> Frames<W> {
    fn new(to: W, level: i32) -> io::Result<Self> {
        Ok(Self {
            to,
            written: 0,
            encoder: Encoder::new(level)?,
            packed: vec![0; 128 << 10],
            is_open: false,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut from = InBuffer::around(bytes);
        self.is_open |= !bytes.is_empty();
        while from.pos() < bytes.len() {
            let mut into = OutBuffer::around(&mut self.packed[..]);
            self.encoder.run(&mut from, &mut into)?;
            let count = into.pos();
            self.put(count)?;
        }
        Ok(())
    }

    /// Ends the frame, if one has begun; gives where the next one stands.
    fn end(&mut self) -> io::Result<u64> {
        while self.is_open {
            let mut into = OutBuffer::around(&mut self.packed[..]);
            let left = self.encoder.finish(&mut into, true)?;
            let count = into.pos();
            self.put(count)?;
            if left == 0 {
                self.encoder.reinit()?;
                self.is_open = false;
            }
        }
        Ok(self.written)
    }

    fn put(&mut self, count: usize) -> io::Result<()> {
        self.written += count as u64;
        self.to.write_all(&self.packed[..count])
    }

    /// Writes what readers of zstd pass over; gives where it begins.
    fn skippable(&mut self, bytes: &[u8]) -> Result<u64> {
        let size = u32::try_from(bytes.len())
            .map_err(|_| Error::other("the table of contents is too long for zstd:chunked"))?;
        self.to.write_all(&SKIPPABLE.to_le_bytes())?;
        self.to.write_all(&size.to_le_bytes())?;
        self.to.write_all(bytes)?;
        let at = self.written + 8;
        self.written = at + u64::from(size);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::storage::layer::{Owners, unpack};
    use crate::storage::tar::building::Builder;

    /// The blob that `tar` becomes as a layer, with its annotations.
    fn packed(tar: &[u8]) -> Option<(Vec<u8>, BTreeMap<String, String>)> {
        let name = format!("coracle-chunked-{}", crate::id::random_hex::<8>());
        let dir = std::env::temp_dir().join(name);
        unpack(&dir, tar, None, Owners::Single).unwrap();
        let mut blob = Vec::new();
        let annotations = write(&dir, &mut blob, 3).unwrap();
        crate::storage::remove_tree(&dir).unwrap();
        annotations.map(|it| (blob, it))
    }

    fn unzstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::decode_all(bytes).unwrap()
    }

    /// The bytes that two numbers of an annotation name.
    fn part<'a>(blob: &'a [u8], annotation: &str) -> (&'a [u8], usize) {
        let numbers: Vec<usize> = annotation
            .split(':')
            .map(|it| it.parse().unwrap())
            .collect();
        (&blob[numbers[0]..numbers[0] + numbers[1]], numbers[2])
    }

    #[test]
    fn a_layer_is_found_file_by_file() {
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8 | 1
        };
        let large: Vec<u8> = (0..400_000).map(|_| noise()).collect();
        let holed = [&large[..5000], &[0; 9000], &large[..70], &[0; 1024]].concat();
        let tar = Builder::default()
            .folder("d/")
            .own(5, 6, 0o4711)
            .pax(&[
                ("mtime", "99.5"),
                ("atime", "7"),
                ("SCHILY.xattr.user.x", "y"),
            ])
            .file("d/large", &large)
            .file("holed", &holed)
            .file("empty", b"")
            .file(".wh.gone", b"said")
            .link(b'1', "same", "d/large")
            .link(b'2', "link", "../outside")
            .end();
        let (blob, annotations) = packed(&tar).unwrap();
        assert!(unzstd(&blob) == tar);
        let (table, size) = part(&blob, &annotations[POSITION]);
        assert_eq!(annotations[CHECKSUM], Digest::of(table).as_str());
        let table = unzstd(table);
        assert_eq!(table.len(), size);
        let table: Value = serde_json::from_slice(&table).unwrap();
        let (split, size) = part(&blob, &annotations[TAR_SPLIT]);
        assert_eq!(table["tarSplitDigest"], Digest::of(split).as_str());
        let split = unzstd(split);
        assert_eq!(split.len(), size);
        let end: Vec<u64> = blob[blob.len() - 64..blob.len() - 8]
            .chunks(8)
            .map(|it| u64::from_le_bytes(it.try_into().unwrap()))
            .collect();
        let position = format!("{}:{}:{}:{}", end[0], end[1], end[2], end[3]);
        assert_eq!(annotations[POSITION], position);
        assert_eq!(&blob[blob.len() - 8..], MAGIC);

        // Each file's chunks are its content, and say so.
        let rows = table["entries"].as_array().unwrap();
        let mut contents: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let Some(from) = row["offset"].as_u64() else {
                continue;
            };
            let next = rows.get(at + 1).filter(|it| it["type"] == "chunk");
            let first = rows[..=at]
                .iter()
                .rev()
                .find(|it| it["type"] == "reg")
                .unwrap();
            let to = next.map_or(&first["endOffset"], |it| &it["offset"]);
            let chunk = unzstd(&blob[from as usize..to.as_u64().unwrap() as usize]);
            let name = row["name"].as_str().unwrap();
            let so_far = contents.entry(name).or_default();
            if let Some(digest) = row["chunkDigest"].as_str() {
                assert_eq!(digest, Digest::of(&chunk).as_str());
                assert_eq!(row["chunkSize"], chunk.len());
                assert_eq!(
                    row["chunkOffset"].as_u64().unwrap_or(0),
                    so_far.len() as u64
                );
            }
            if row["chunkType"] == "zeros" {
                assert!(chunk.iter().all(|it| *it == 0));
            }
            so_far.extend(chunk);
        }
        for row in rows.iter().filter(|it| it["type"] == "reg") {
            let name = row["name"].as_str().unwrap();
            let content = contents.get(name).map_or(&[][..], Vec::as_slice);
            assert_eq!(
                row["size"].as_u64().unwrap_or(0),
                content.len() as u64,
                "{name}"
            );
            let digest = (!content.is_empty()).then(|| Digest::of(content));
            assert_eq!(row["digest"].as_str(), digest.as_ref().map(Digest::as_str));
        }
        assert!(contents["d/large"] == large);
        let zeros = rows.iter().filter(|it| it["chunkType"] == "zeros").count();
        assert_eq!(zeros, 2);
        let large = &rows[1];
        assert_eq!(large["modtime"], "1970-01-01T00:01:39.5Z");
        assert_eq!(large["accesstime"], "1970-01-01T00:00:07Z");
        assert_eq!(large["xattrs"]["user.x"], "eQ==");
        assert_eq!((&large["uid"], &large["mode"]), (&5.into(), &0o4711.into()));

        // tar-split's lines and the contents are the tar.
        let mut again = Vec::new();
        for line in split.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            if line["type"] == 2 {
                let payload = line["payload"].as_str().unwrap();
                again.extend(BASE64_STANDARD.decode(payload).unwrap());
            } else if line["size"].as_u64().is_some() {
                again.extend(&contents[line["name"].as_str().unwrap()]);
            }
        }
        assert!(again == tar);
    }

    #[test]
    fn what_the_table_cannot_say_is_left_to_plain_zstd() {
        for tar in [
            Builder::default()
                .pax(&[("mtime", "-5")])
                .file("old", b"x")
                .end(),
            Builder::default()
                .pax(&[("path", "caf\u{e9}")])
                .file("x", b"x")
                .entry("size", b'5', 7, "")
                .end(),
        ] {
            assert!(packed(&tar).is_none());
        }
    }

    #[test]
    fn the_sum_is_gos() {
        let sum = |bytes: &[u8]| {
            let mut sum = Sum::default();
            sum.add(bytes);
            u64::from_be_bytes(sum.value())
        };
        // What Go's hash/crc64 gives.
        for (text, wanted) in [
            ("", 0),
            ("a", 0x3420_0000_0000_0000),
            ("abc", 0x3776_c420_0000_0000),
        ] {
            assert_eq!(sum(text.as_bytes()), wanted, "{text}");
        }
    }
}
