//! Reading tar archives from anybody: ustar, PAX, GNU and V7 headers; files with
//! holes in all four ways that GNU tar writes them. [`super::pack`] writes.
//!
//! Our own reader, as a stranger's archive must not make us hold what it says is
//! long, and as every byte that is not a file's content is kept, so that the
//! exact archive can be given back.

use std::io::{self, BufRead, Read, Write};

use crate::error::{Error, Result};

/// Headers and contents are padded to it.
pub const BLOCK: usize = 512;
/// The most a long name or a set of PAX records may take (Go's archive/tar: the same).
const MAX_EXTENSION: u64 = 1 << 20;
/// The most pieces a file with holes may have.
pub const MAX_PIECES: usize = 1 << 20;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Folder,
    Fifo,
}

/// An entry's header, its extensions applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// As it stands in the archive: to be cleaned.
    pub path: Vec<u8>,
    /// What a link leads to, as it stands.
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds after 1970; nothing earlier.
    pub mtime: (i64, u32),
    /// Bytes of content; 0 for all but files.
    pub size: u64,
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// What its content is, if the archive leaves holes out.
    pub sparse: Option<Sparse>,
}

/// A file of which the archive has only what lies between its holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sparse {
    /// Of the file, its holes included.
    pub size: u64,
    /// Where the pieces go: offset and length. `None`: the map stands at the head
    /// of the content ([`Reader::read_map`]).
    pub map: Option<Pieces>,
}

/// What a header says beside its entry, as Go's archive/tar reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// All its bits, those of the type too if it has them.
    pub mode: u64,
    /// Seconds and nanoseconds after 1970.
    pub accessed: Option<(i64, u32)>,
    pub changed: Option<(i64, u32)>,
    /// Whether the entry and this are all that Go sees: nothing before 1970, no size
    /// and no number of a device where there is none, no global header before it.
    pub is_all: bool,
}

/// Offset and length of what is no hole.
pub type Pieces = Vec<(u64, u64)>;

/// Reads an archive from front to end. What is not content goes to `raw` as well.
pub struct Reader<R, W> {
    from: R,
    raw: W,
    /// Content and padding of the current entry not yet read.
    content: u64,
    padding: u64,
    /// Bytes read.
    offset: u64,
    comment: Option<Vec<u8>>,
    beside: Beside,
}

impl<R: BufRead> Reader<R, io::Sink> {
    pub fn new(from: R) -> Self {
        Reader::recorded(from, io::sink())
    }
}

impl<R: BufRead, W: Write> Reader<R, W> {
    /// Reads `from` and writes all but the contents of files to `raw`.
    pub fn recorded(from: R, raw: W) -> Self {
        Self {
            from,
            raw,
            content: 0,
            padding: 0,
            offset: 0,
            comment: None,
            beside: Beside::default(),
        }
    }

    /// What has been recorded and not been taken away.
    pub fn record_mut(&mut self) -> &mut W {
        &mut self.raw
    }

    /// What else the current entry's header says.
    pub fn beside(&self) -> &Beside {
        &self.beside
    }

    /// Passes over the current entry's content, which the archive has left out; gives
    /// how long it is.
    pub fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.content)
    }

    /// What the archive says of itself: the `comment` of a global PAX header so far.
    pub fn comment(&self) -> Option<&[u8]> {
        self.comment.as_deref()
    }

    /// Where in the archive we are: after `next_entry`, where the entry's content begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the current entry's content that are still to come.
    pub fn remaining(&self) -> u64 {
        self.content
    }

    /// The next entry; `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.content(|_| Ok(()))?;
        let mut long_path = None;
        let mut long_link = None;
        let mut records = Vec::new();
        let mut has_global = false;
        loop {
            let mut block = [0; BLOCK];
            self.take_padding()?;
            if !self.block(&mut block)? {
                return Ok(None);
            }
            if block == [0; BLOCK] {
                // Two empty blocks end an archive; one at the end of the file is let pass.
                if self.block(&mut block)? && block != [0; BLOCK] {
                    return Err(malformed("a header is missing"));
                }
                return Ok(None);
            }
            check_sum(&block)?;
            let size = number(&block[124..136])?;
            match block[156] {
                b'L' => long_path = Some(self.extension(size)?),
                b'K' => long_link = Some(self.extension(size)?),
                b'x' => records = parse_records(&self.extension(size)?)?,
                // Global records: nobody applies them (Go's archive/tar, podman).
                b'g' => {
                    has_global = true;
                    let records = parse_records(&self.extension(size)?).unwrap_or_default();
                    let comment = records.into_iter().find(|(key, _)| key == "comment");
                    self.comment = comment.map(|(_, value)| value).or(self.comment.take());
                }
                flag => {
                    let seen = beside(&block, &records);
                    let mut entry = entry(&block, flag, long_path, long_link, records)?;
                    if flag == b'S' {
                        entry.sparse = Some(self.old_sparse(&block)?);
                    }
                    self.content = entry.size;
                    self.padding = entry.size.wrapping_neg() % BLOCK as u64;
                    let devices = (number(&block[329..337]), number(&block[337..345]));
                    let is_device = matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice);
                    let is_plain = is_device || matches!(devices, (Ok(0), Ok(0)));
                    self.beside = Beside {
                        is_all: seen.is_all
                            && !has_global
                            && is_plain
                            && (entry.kind == Kind::File || size == 0),
                        ..seen
                    };
                    if let Some(sparse) = &entry.sparse {
                        sparse.check(entry.size)?;
                    }
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Hands the rest of the current entry's content to `each`, piece by piece.
    pub fn content(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.content > 0 {
            let piece = fill(&mut self.from)?;
            if piece.is_empty() {
                return Err(truncated());
            }
            let count = piece
                .len()
                .min(usize::try_from(self.content).unwrap_or(usize::MAX));
            each(&piece[..count])?;
            self.advance(count);
            self.content -= count as u64;
        }
        Ok(())
    }

    /// The map of a file with holes whose content begins with it (GNU tar's
    /// `--sparse-version=1.0`): decimal numbers in lines, padded to a block.
    pub fn read_map(&mut self, sparse: &Sparse) -> Result<Pieces> {
        let wrong = || malformed("a sparse map is malformed");
        let mut numbers = Vec::new();
        let mut wanted = None;
        let mut number: Option<u64> = None;
        while wanted != Some(numbers.len()) {
            let piece = fill(&mut self.from)?;
            if piece.is_empty() {
                return Err(truncated());
            }
            let byte = piece[0];
            if self.content == 0 {
                return Err(wrong());
            }
            self.content -= 1;
            self.advance(1);
            match (byte, number) {
                (b'0'..=b'9', so_far) => {
                    let digit = u64::from(byte - b'0');
                    let next = so_far.unwrap_or(0).checked_mul(10);
                    number = Some(
                        next.and_then(|it| it.checked_add(digit))
                            .ok_or_else(wrong)?,
                    );
                }
                (b'\n', Some(value)) => {
                    number = None;
                    if wanted.is_some() {
                        numbers.push(value);
                    } else if value <= MAX_PIECES as u64 {
                        wanted = Some(value as usize * 2);
                    } else {
                        return Err(wrong());
                    }
                }
                _ => return Err(wrong()),
            }
        }
        let read = self.offset % BLOCK as u64;
        let mut padding = read.wrapping_neg() % BLOCK as u64;
        while padding > 0 {
            let piece = fill(&mut self.from)?.len();
            if piece == 0 {
                return Err(truncated());
            }
            let count = piece.min(padding as usize);
            self.content = self.content.checked_sub(count as u64).ok_or_else(wrong)?;
            self.advance(count);
            padding -= count as u64;
        }
        let map: Pieces = numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let whole = Sparse {
            size: sparse.size,
            map: Some(map),
        };
        whole.check(self.content)?;
        Ok(whole.map.unwrap_or_default())
    }

    /// The map of GNU's own format: four pieces in the header, more in the blocks
    /// that follow it.
    fn old_sparse(&mut self, header: &[u8; BLOCK]) -> Result<Sparse> {
        let mut map = Pieces::new();
        let mut read = |fields: &[u8]| -> Result<()> {
            for field in fields.chunks_exact(24) {
                let (offset, length) = (number(&field[..12])?, number(&field[12..])?);
                if field[0] != 0 && map.len() < MAX_PIECES {
                    map.push((offset, length));
                }
            }
            Ok(())
        };
        read(&header[386..482])?;
        let mut has_more = header[482] != 0;
        while has_more {
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Err(truncated());
            }
            read(&block[..504])?;
            has_more = block[504] != 0;
        }
        Ok(Sparse {
            size: number(&header[483..495])?,
            map: Some(map),
        })
    }

    /// Hands the rest of the current entry's content to `each` and to the record.
    pub fn recorded_content(&mut self) -> Result<()> {
        let count = self.content;
        self.content = 0;
        self.record(count)
    }

    /// Takes the rest of the current entry's content from `given`, as the archive
    /// has it left out, and hands it to the record.
    pub fn given_content(&mut self, given: &mut impl Read) -> Result<()> {
        let count = std::mem::take(&mut self.content);
        if io::copy(&mut given.by_ref().take(count), &mut self.raw)? == count {
            Ok(())
        } else {
            Err(truncated())
        }
    }

    /// Reads what stands after the end of the archive, and gives the record back.
    pub fn finish(mut self) -> Result<(W, u64)> {
        loop {
            let piece = fill(&mut self.from)?;
            if piece.is_empty() {
                return Ok((self.raw, self.offset));
            }
            self.raw.write_all(piece)?;
            let count = piece.len();
            self.advance(count);
        }
    }

    fn advance(&mut self, count: usize) {
        self.from.consume(count);
        self.offset += count as u64;
    }

    /// Reads one block; `false` if the file ends here.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            let piece = fill(&mut self.from)?;
            if piece.is_empty() {
                return if filled == 0 {
                    Ok(false)
                } else {
                    Err(truncated())
                };
            }
            let count = piece.len().min(BLOCK - filled);
            block[filled..filled + count].copy_from_slice(&piece[..count]);
            self.advance(count);
            filled += count;
        }
        self.raw.write_all(block)?;
        Ok(true)
    }

    /// The content of a header that extends the next one.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(malformed(&format!("a header of {size} bytes")));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        self.content = size;
        self.content(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        self.raw.write_all(&bytes)?;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        Ok(bytes)
    }

    fn take_padding(&mut self) -> Result<()> {
        let count = std::mem::take(&mut self.padding);
        self.record(count)
    }

    fn record(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let piece = fill(&mut self.from)?;
            if piece.is_empty() {
                return Err(truncated());
            }
            let taken = piece
                .len()
                .min(usize::try_from(count).unwrap_or(usize::MAX));
            self.raw.write_all(&piece[..taken])?;
            self.advance(taken);
            count -= taken as u64;
        }
        Ok(())
    }
}

impl Sparse {
    /// Whether the pieces are in order, within the file, and `stored` bytes in all.
    fn check(&self, stored: u64) -> Result<()> {
        let Some(map) = &self.map else {
            return Ok(());
        };
        let (mut end, mut total) = (0, 0);
        for (offset, length) in map {
            let next = offset.checked_add(*length);
            match next.filter(|next| *offset >= end && *next <= self.size) {
                Some(next) => end = next,
                None => return Err(malformed("a sparse map is malformed")),
            }
            total += length;
        }
        if total == stored && self.size <= i64::MAX as u64 {
            Ok(())
        } else {
            Err(malformed("a sparse map is malformed"))
        }
    }
}

fn fill<R: BufRead>(from: &mut R) -> Result<&[u8]> {
    // Asked again after an interruption; the second call gives what is there.
    loop {
        match from.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(from.fill_buf()?)
}

fn truncated() -> Error {
    Error::other("unexpected EOF")
}

fn malformed(why: &str) -> Error {
    Error::other(format!("archive/tar: invalid tar header: {why}"))
}

/// The header's sum of bytes, its own field counted as spaces; some archivers
/// summed signed bytes.
fn check_sum(block: &[u8; BLOCK]) -> Result<()> {
    let wanted = number(&block[148..156])? as i64;
    let mut unsigned = 8 * i64::from(b' ');
    let mut signed = unsigned;
    for (at, byte) in block.iter().enumerate() {
        if !(148..156).contains(&at) {
            unsigned += i64::from(*byte);
            signed += i64::from(*byte as i8);
        }
    }
    if wanted == unsigned || wanted == signed {
        Ok(())
    } else {
        Err(malformed("wrong checksum"))
    }
}

/// A number: octal digits, or base 256 if the first bit is set (GNU).
fn number(field: &[u8]) -> Result<u64> {
    if field[0] & 0x80 != 0 {
        if field[0] & 0x40 != 0 {
            // Negative: only times are, and those count as 1970.
            return Ok(0);
        }
        let mut value: u64 = 0;
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 { byte & 0x7f } else { *byte };
            if value >> 55 != 0 {
                return Err(malformed("a number is too large"));
            }
            value = value << 8 | u64::from(byte);
        }
        return Ok(value);
    }
    let digits = trim(field);
    let mut value: u64 = 0;
    for byte in digits {
        match byte {
            b'0'..=b'7' if value >> 60 == 0 => value = value << 3 | u64::from(byte - b'0'),
            _ => return Err(malformed("a number is not octal")),
        }
    }
    Ok(value)
}

fn trim(field: &[u8]) -> &[u8] {
    let filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !filler(byte))
        .unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|byte| !filler(byte))
        .map_or(start, |at| at + 1);
    &field[start..end]
}

/// A text: what stands before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

type Records = Vec<(String, Vec<u8>)>;

/// PAX records: `LENGTH KEY=VALUE\n` (pax(1)).
fn parse_records(mut bytes: &[u8]) -> Result<Records> {
    let wrong = || malformed("a PAX record is malformed");
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes
            .iter()
            .take(8)
            .position(|byte| *byte == b' ')
            .ok_or_else(wrong)?;
        let length: usize = std::str::from_utf8(&bytes[..space])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(wrong)?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(wrong());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(wrong)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| wrong())?;
        if key.is_empty() || key.contains('\0') {
            return Err(wrong());
        }
        records.push((key.to_owned(), record[equals + 1..].to_vec()));
        bytes = &bytes[length..];
    }
    Ok(records)
}

fn entry(
    block: &[u8; BLOCK],
    flag: u8,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Records,
) -> Result<Entry> {
    let mut path = long_path.map_or_else(|| short_path(block), |long| text(&long).to_vec());
    let mut link = long_link.map_or_else(
        || text(&block[157..257]).to_vec(),
        |long| text(&long).to_vec(),
    );
    let mut size = number(&block[124..136])?;
    let mut uid = number(&block[108..116])?;
    let mut gid = number(&block[116..124])?;
    let mut mtime = (number(&block[136..148])?.min(i64::MAX as u64) as i64, 0);
    let mut xattrs = Vec::new();
    let mut holes = Holes::default();
    for (key, value) in records {
        // An empty value leaves the header's own standing.
        let given = !value.is_empty();
        match key.as_str() {
            "path" if given => path = value,
            "linkpath" if given => link = value,
            "size" if given => size = decimal(&value)?,
            "uid" if given => uid = decimal(&value)?,
            "gid" if given => gid = decimal(&value)?,
            "mtime" if given => mtime = time(&value)?,
            _ => {
                if let Some(name) = key.strip_prefix("GNU.sparse.") {
                    holes.record(name, value)?;
                } else if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    xattrs.push((name.to_owned(), value));
                }
            }
        }
    }
    if path.contains(&0) || link.contains(&0) {
        return Err(malformed("a name contains NUL"));
    }
    let kind = match flag {
        // V7 archives have no type for folders but a slash.
        0 if path.ends_with(b"/") => Kind::Folder,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Folder,
        b'6' => Kind::Fifo,
        b'S' => Kind::File,
        other => {
            return Err(Error::other(format!(
                "unhandled tar header type {other} of {}",
                String::from_utf8_lossy(&path)
            )));
        }
    };
    let sparse = holes.sparse(size)?;
    path = holes.name.unwrap_or(path);
    if path.contains(&0) {
        return Err(malformed("a name contains NUL"));
    }
    let numbered = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    let device = |at: std::ops::Range<usize>| match numbered {
        true => number(&block[at]).map(|value| value as u32),
        false => Ok(0),
    };
    let id = |value: u64| u32::try_from(value).map_err(|_| malformed("an owner is too large"));
    Ok(Entry {
        kind,
        link,
        mode: (number(&block[100..108])? & 0o7777) as u32,
        uid: id(uid)?,
        gid: id(gid)?,
        mtime,
        // Whatever the header says, only files have content (Go's archive/tar).
        size: if kind == Kind::File { size } else { 0 },
        xattrs,
        device: (device(329..337)?, device(337..345)?),
        sparse: sparse.filter(|_| kind == Kind::File),
        path,
    })
}

/// Of Go's four formats three say more times than one (archive/tar, readHeader).
fn beside(block: &[u8; BLOCK], records: &Records) -> Beside {
    let is_early = |field: &[u8]| field[0] & 0xc0 == 0xc0;
    let seconds = |field: &[u8]| (!is_early(field)).then(|| number(field).ok()).flatten();
    let moment = |field: &[u8]| seconds(field).map(|it| (it.min(i64::MAX as u64) as i64, 0));
    let mut is_all = !is_early(&block[136..148]);
    let is_gnu = &block[257..265] == b"ustar  \0";
    let is_star = &block[257..263] == b"ustar\0" && &block[508..512] == b"tar\0";
    let mut header = |field: &[u8]| {
        let read = moment(field);
        is_all &= read.is_some();
        read
    };
    let (mut accessed, mut changed) = (None, None);
    if is_star {
        (accessed, changed) = (header(&block[476..488]), header(&block[488..500]));
    } else if is_gnu {
        let mut given = |field: &[u8]| (field[0] != 0).then(|| header(field)).flatten();
        (accessed, changed) = (given(&block[345..357]), given(&block[357..369]));
    }
    for (key, value) in records {
        let field = match key.as_str() {
            "atime" => &mut accessed,
            "ctime" => &mut changed,
            "mtime" => {
                is_all &= !value.starts_with(b"-");
                continue;
            }
            _ => continue,
        };
        if !value.is_empty() {
            is_all &= !value.starts_with(b"-");
            *field = time(value).ok();
            is_all &= field.is_some();
        }
    }
    let mode = number(&block[100..108]);
    Beside {
        is_all: is_all && mode.is_ok(),
        mode: mode.unwrap_or_default(),
        accessed,
        changed,
    }
}

/// What PAX records say of a file's holes: GNU tar's versions 0.0, 0.1 and 1.0.
#[derive(Default)]
struct Holes {
    is_one: bool,
    size: Option<u64>,
    name: Option<Vec<u8>>,
    map: Option<Pieces>,
    /// Version 0.0 has a record for each number.
    offset: Option<u64>,
}

impl Holes {
    fn record(&mut self, key: &str, value: Vec<u8>) -> Result<()> {
        let wrong = || malformed("a sparse map is malformed");
        match key {
            "major" => match value.as_slice() {
                b"0" => {}
                b"1" => self.is_one = true,
                _ => return Err(malformed("a sparse format of a later version")),
            },
            "name" => self.name = Some(value).filter(|name| !name.is_empty()),
            "size" | "realsize" => self.size = Some(decimal(&value)?),
            "offset" => self.offset = Some(decimal(&value)?),
            "numbytes" => {
                let offset = self.offset.take().ok_or_else(wrong)?;
                let map = self.map.get_or_insert_default();
                map.push((offset, decimal(&value)?));
            }
            "map" => {
                let numbers = value.split(|byte| *byte == b',').map(decimal);
                let numbers: Vec<u64> = numbers.collect::<Result<_>>()?;
                if !numbers.len().is_multiple_of(2) {
                    return Err(wrong());
                }
                self.map = Some(numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect());
            }
            _ => {}
        }
        Ok(())
    }

    fn sparse(&mut self, stored: u64) -> Result<Option<Sparse>> {
        match (self.is_one, self.size, self.map.take()) {
            (true, Some(size), None) => Ok(Some(Sparse { size, map: None })),
            (false, Some(size), Some(map)) => Ok(Some(Sparse {
                size,
                map: Some(map),
            })),
            // A file of one great hole.
            (false, Some(size), None) if stored == 0 => Ok(Some(Sparse {
                size,
                map: Some(Pieces::new()),
            })),
            (false, None, None) => Ok(None),
            _ => Err(malformed("a sparse map is malformed")),
        }
    }
}

/// The name of a ustar header, its prefix included; GNU's has no prefix.
fn short_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[..100]);
    if &block[257..263] != b"ustar\0" {
        return name.to_vec();
    }
    let end = if &block[508..512] == b"tar\0" {
        476
    } else {
        500
    };
    match text(&block[345..end]) {
        b"" => name.to_vec(),
        prefix => [prefix, b"/", name].concat(),
    }
}

fn decimal(value: &[u8]) -> Result<u64> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| malformed("a PAX number is malformed"))
}

/// `SECONDS[.FRACTION]`; before 1970 counts as 1970.
fn time(value: &[u8]) -> Result<(i64, u32)> {
    let wrong = || malformed("a PAX time is malformed");
    let value = std::str::from_utf8(value).map_err(|_| wrong())?;
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    if seconds < 0 || value.starts_with('-') {
        return Ok((0, 0));
    }
    let mut nanoseconds = 0;
    for at in 0..9 {
        let digit = fraction.as_bytes().get(at).map_or(0, |byte| byte - b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    Ok((seconds, nanoseconds))
}

#[cfg(test)]
pub mod building {
    use super::BLOCK;

    /// An archive made for a test.
    #[derive(Default)]
    pub struct Builder {
        pub bytes: Vec<u8>,
        mode: Option<u32>,
        owner: (u32, u32),
    }

    impl Builder {
        /// The owner and mode of the next entry.
        pub fn own(mut self, uid: u32, gid: u32, mode: u32) -> Self {
            self.owner = (uid, gid);
            self.mode = Some(mode);
            self
        }

        pub fn file(self, name: &str, content: &[u8]) -> Self {
            let mut built = self.entry(name, b'0', content.len() as u64, "");
            built.bytes.extend(padded(content));
            built
        }

        pub fn folder(self, name: &str) -> Self {
            self.entry(name, b'5', 0, "")
        }

        pub fn link(self, flag: u8, name: &str, to: &str) -> Self {
            self.entry(name, flag, 0, to)
        }

        /// PAX records for the next entry.
        pub fn pax(self, records: &[(&str, &str)]) -> Self {
            let mut text = String::new();
            for (key, value) in records {
                let bare = key.len() + value.len() + 3;
                let mut length = bare + 1;
                while length != bare + length.to_string().len() {
                    length += 1;
                }
                text.push_str(&format!("{length} {key}={value}\n"));
            }
            let mut built = self;
            built
                .bytes
                .extend(header("pax", b'x', text.len() as u64, ""));
            built.bytes.extend(padded(text.as_bytes()));
            built
        }

        pub fn entry(mut self, name: &str, flag: u8, size: u64, link: &str) -> Self {
            let mut block = header(name, flag, size, link);
            let mode = self
                .mode
                .take()
                .unwrap_or(if flag == b'5' { 0o755 } else { 0o644 });
            block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
            let (uid, gid) = std::mem::take(&mut self.owner);
            block[108..115].copy_from_slice(format!("{uid:07o}").as_bytes());
            block[116..123].copy_from_slice(format!("{gid:07o}").as_bytes());
            seal(&mut block);
            self.bytes.extend(block);
            self
        }

        pub fn end(mut self) -> Vec<u8> {
            self.bytes.extend([0; 2 * BLOCK]);
            self.bytes
        }
    }

    /// A header as ustar writes it.
    pub fn header(name: &str, flag: u8, size: u64, link: &str) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000012");
        block[156] = flag;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..263].copy_from_slice(b"ustar\0");
        seal(&mut block);
        block
    }

    pub fn seal(block: &mut [u8; BLOCK]) {
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }

    pub fn padded(bytes: &[u8]) -> Vec<u8> {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(BLOCK), 0);
        padded
    }
}

#[cfg(test)]
mod tests {
    use super::building::{header, padded, seal};
    use super::*;

    type Contents = Vec<(Entry, Vec<u8>)>;

    fn read(bytes: &[u8]) -> Result<(Contents, Vec<u8>)> {
        let mut reader = Reader::recorded(bytes, Vec::new());
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let mut content = Vec::new();
            reader.content(|piece| {
                content.extend_from_slice(piece);
                Ok(())
            })?;
            entries.push((entry, content));
        }
        let (raw, offset) = reader.finish()?;
        assert_eq!(offset, bytes.len() as u64);
        Ok((entries, raw))
    }

    #[test]
    fn extensions_apply_to_the_next_entry_alone() {
        let records = b"16 path=long/er\n22 SCHILY.xattr.a.b=c\n15 mtime=12.50\n".to_vec();
        let mut tar = Vec::new();
        tar.extend(header("pax", b'x', records.len() as u64, ""));
        tar.extend(padded(&records));
        tar.extend(header("short", b'0', 5, ""));
        tar.extend(padded(b"hello"));
        tar.extend(header("././@LongLink", b'L', 4, ""));
        tar.extend(padded(b"gnu\0"));
        tar.extend(header("cut", b'2', 0, "to"));
        tar.extend(header("plain/", 0, 0, ""));
        tar.extend([0; 2 * BLOCK]);
        tar.extend(b"rubbish");
        let (entries, raw) = read(&tar).unwrap();
        assert_eq!(entries.len(), 3);
        let (first, content) = &entries[0];
        assert_eq!(first.path, b"long/er");
        assert_eq!(first.mtime, (12, 500_000_000));
        assert_eq!(first.xattrs, [("a.b".to_owned(), b"c".to_vec())]);
        assert_eq!(content, b"hello");
        assert_eq!(entries[1].0.path, b"gnu");
        assert_eq!(entries[1].0.link, b"to");
        assert_eq!(entries[2].0.kind, Kind::Folder);
        assert_eq!(entries[2].0.mtime, (10, 0));
        assert_eq!(raw.len(), tar.len() - 5);
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let good = header("a", b'0', 600, "");
        assert_eq!(read(&good).unwrap_err().to_string(), "unexpected EOF");
        assert_eq!(
            read(&good[..100]).unwrap_err().to_string(),
            "unexpected EOF"
        );
        let mut bad = good;
        bad[0] = b'b';
        assert!(read(&bad).is_err());
        assert!(read(&header("a", b'x', 1 << 30, "")).is_err());
        assert!(read(&[7; 2048]).is_err());
        assert!(read(&[]).unwrap().0.is_empty());
    }

    #[test]
    fn holes_are_read_in_every_way_they_are_written() {
        let content = b"onetwo";
        let with = |records: &[(&str, &str)], content: &[u8]| {
            let built = super::building::Builder::default().pax(records);
            built.file("GNUSparseFile.0/f", content).end()
        };
        let mut head = b"2\n0\n3\n1000\n3\n".to_vec();
        head.resize(BLOCK, 0);
        head.extend(content);
        let mut old = header("f", b'S', 6, "");
        for (at, number) in [(386, 0), (398, 3), (410, 1000), (422, 3), (483, 2000)] {
            old[at..at + 11].copy_from_slice(format!("{number:011o}").as_bytes());
        }
        seal(&mut old);
        let zero = [
            ("GNU.sparse.size", "2000"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "3"),
            ("GNU.sparse.offset", "1000"),
            ("GNU.sparse.numbytes", "3"),
        ];
        let one = [
            ("GNU.sparse.size", "2000"),
            ("GNU.sparse.name", "f"),
            ("GNU.sparse.map", "0,3,1000,3"),
        ];
        let two = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "f"),
            ("GNU.sparse.realsize", "2000"),
        ];
        let old = [old.to_vec(), padded(content)].concat();
        for tar in [
            with(&zero, content),
            with(&one, content),
            with(&two, &head),
            old,
        ] {
            let mut reader = Reader::new(&tar[..]);
            let entry = reader.next_entry().unwrap().unwrap();
            let sparse = entry.sparse.unwrap();
            let map = match &sparse.map {
                Some(map) => map.clone(),
                None => reader.read_map(&sparse).unwrap(),
            };
            assert_eq!((sparse.size, map), (2000, vec![(0, 3), (1000, 3)]));
            let mut read: Vec<u8> = Vec::new();
            reader
                .content(|piece| {
                    read.extend(piece);
                    Ok(())
                })
                .unwrap();
            assert_eq!(read, content);
        }
        for map in [
            "3,3,0,3",
            "0,3,1999,3",
            "0,3,1000,2",
            "0,3,1",
            "x",
            "0,18446744073709551615",
        ] {
            let records = [("GNU.sparse.size", "2000"), ("GNU.sparse.map", map)];
            assert!(read(&with(&records, content)).is_err(), "{map}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let records = b"16 path=long/er\n15 mtime=12.50\n".to_vec();
        let mut tar = Vec::new();
        tar.extend(header("pax", b'x', records.len() as u64, ""));
        tar.extend(padded(&records));
        tar.extend(header("short", b'0', 5, ""));
        tar.extend(padded(b"hello"));
        let mut state = 88172645463325252u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        for _ in 0..50_000 {
            let mut bytes = tar.clone();
            for _ in 0..1 + next() % 3 {
                let at = next() % bytes.len();
                bytes[at] = next() as u8;
            }
            // Half of them with a sum that is right, so that what is behind it is tried.
            if next() % 2 == 0 {
                for at in [0, 2 * BLOCK] {
                    let mut block: [u8; BLOCK] = bytes[at..at + BLOCK].try_into().unwrap();
                    seal(&mut block);
                    bytes[at..at + BLOCK].copy_from_slice(&block);
                }
            }
            bytes.truncate(next() % (bytes.len() + 1));
            let _ = read(&bytes);
        }
    }
}
