//! Writing tar archives: ustar headers, PAX records for what these cannot say, and
//! files with holes in GNU tar's PAX format 1.0, which GNU tar, bsdtar and Go read.

use std::io::{self, Read, Write};

use super::tar::{BLOCK, Entry, Kind};

/// Writes an archive from front to end.
pub struct Writer<W> {
    to: W,
    /// Content of the current entry still to be written, and what follows it.
    content: u64,
    padding: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(to: W) -> Self {
        Self {
            to,
            content: 0,
            padding: 0,
        }
    }

    /// Says something of the whole archive, which those who do not know it pass over.
    pub fn comment(&mut self, text: &str) -> io::Result<()> {
        let mut records = Vec::new();
        record(&mut records, "comment", text.as_bytes());
        self.extension(b'g', "pax_global_header", &records)
    }

    /// Begins an entry; `entry.size` bytes of content follow. With `entry.sparse`
    /// they are its pieces, one after the other.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.pad()?;
        let mut records = Vec::new();
        let mut path = entry.path.clone();
        let mut map = Vec::new();
        if let Some(sparse) = &entry.sparse {
            let mut pieces = sparse.map.clone().unwrap_or_default();
            // A hole at the end: GNU tar takes the file's size from the last piece.
            if pieces
                .last()
                .is_none_or(|(at, length)| at + length < sparse.size)
            {
                pieces.push((sparse.size, 0));
            }
            map = sparse_map(&pieces);
            record(&mut records, "GNU.sparse.major", b"1");
            record(&mut records, "GNU.sparse.minor", b"0");
            record(&mut records, "GNU.sparse.name", &path);
            let size = sparse.size.to_string();
            record(&mut records, "GNU.sparse.realsize", size.as_bytes());
            // What those see who do not know the format.
            let at = path.iter().rposition(|byte| *byte == b'/');
            path.splice(
                at.map_or(0, |at| at + 1)..at.map_or(0, |at| at + 1),
                *b"GNUSparseFile.0/",
            );
        }
        let size = entry.size + map.len() as u64;
        let mut block = [0; BLOCK];
        if !put_path(&mut block, &path) {
            record(&mut records, "path", &path);
        }
        if !put(&mut block[157..257], &entry.link) {
            record(&mut records, "linkpath", &entry.link);
        }
        let mut number = |at: std::ops::Range<usize>, key: &str, value: u64| {
            if !put_number(&mut block[at], value) {
                record(&mut records, key, value.to_string().as_bytes());
            }
        };
        number(124..136, "size", size);
        number(108..116, "uid", entry.uid.into());
        number(116..124, "gid", entry.gid.into());
        let (seconds, nanoseconds) = entry.mtime;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        let fits = put_number(&mut block[136..148], seconds);
        if !fits || nanoseconds != 0 {
            let text = format!("{seconds}.{nanoseconds:09}");
            let text = text.trim_end_matches('0').trim_end_matches('.');
            record(&mut records, "mtime", text.as_bytes());
        }
        for (name, value) in &entry.xattrs {
            record(&mut records, &format!("SCHILY.xattr.{name}"), value);
        }
        put_number(&mut block[100..108], entry.mode.into());
        // Zeros for what is no device, as Go and GNU tar write them.
        put_number(&mut block[329..337], entry.device.0.into());
        put_number(&mut block[337..345], entry.device.1.into());
        block[156] = match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::CharDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Folder => b'5',
            Kind::Fifo => b'6',
        };
        if !records.is_empty() {
            self.extension(b'x', "PaxHeaders.0/entry", &records)?;
        }
        seal(&mut block);
        self.to.write_all(&block)?;
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        self.content(&map)
    }

    /// Writes a piece of the current entry's content.
    pub fn content(&mut self, piece: &[u8]) -> io::Result<()> {
        let left = self.content.checked_sub(piece.len() as u64);
        self.content = left.ok_or_else(|| io::Error::other("more content than was announced"))?;
        self.to.write_all(piece)
    }

    /// Writes `length` bytes of `from` as content of the current entry.
    pub fn copy(&mut self, from: &mut impl Read, length: u64) -> io::Result<()> {
        let mut buffer = [0; 1 << 16];
        let mut left = length;
        while left > 0 {
            let wanted = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match from.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(io::Error::other("it became shorter while it was read")),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            };
            self.content(&buffer[..count])?;
            left -= count as u64;
        }
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.pad()?;
        self.to.write_all(&[0; 2 * BLOCK])?;
        Ok(self.to)
    }

    fn pad(&mut self) -> io::Result<()> {
        if self.content > 0 {
            return Err(io::Error::other("less content than was announced"));
        }
        let padding = std::mem::take(&mut self.padding);
        self.to.write_all(&[0; BLOCK][..padding as usize])
    }

    fn extension(&mut self, flag: u8, name: &str, records: &[u8]) -> io::Result<()> {
        let mut block = [0; BLOCK];
        put(&mut block[..100], name.as_bytes());
        put_number(&mut block[100..108], 0o644);
        put_number(&mut block[108..116], 0);
        put_number(&mut block[116..124], 0);
        put_number(&mut block[124..136], records.len() as u64);
        put_number(&mut block[136..148], 0);
        block[156] = flag;
        seal(&mut block);
        self.to.write_all(&block)?;
        self.content = records.len() as u64;
        self.padding = self.content.wrapping_neg() % BLOCK as u64;
        self.content(records)?;
        self.pad()
    }
}

/// The headers of an entry, for one who places its content himself.
pub fn header(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.entry(entry)?;
    Ok(writer.to)
}

/// `LENGTH KEY=VALUE\n`, the length counting itself (pax(1)).
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + 1;
    while length != bare + length.to_string().len() {
        length += 1;
    }
    records.extend(format!("{length} {key}=").bytes());
    records.extend(value);
    records.push(b'\n');
}

/// How many pieces, then offset and length of each, in lines, padded to a block.
fn sparse_map(pieces: &[(u64, u64)]) -> Vec<u8> {
    let mut text = format!("{}\n", pieces.len());
    for (offset, length) in pieces {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Puts a text into a field; false if it does not fit.
fn put(field: &mut [u8], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    text.len() <= field.len()
}

/// The name, or prefix and name; false if it is cut.
fn put_path(block: &mut [u8; BLOCK], path: &[u8]) -> bool {
    if path.len() <= 100 {
        return put(&mut block[..100], path);
    }
    let slashes = (1..path.len() - 1).filter(|at| path[*at] == b'/');
    let mut fit = slashes.filter(|at| *at <= 155 && path.len() - at - 1 <= 100);
    match fit.next_back() {
        Some(at) => {
            put(&mut block[345..500], &path[..at]) && put(&mut block[..100], &path[at + 1..])
        }
        None => put(&mut block[..100], path),
    }
}

/// Octal digits and a NUL; false, and 0 instead, if there is no room.
fn put_number(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = value >> (3 * digits) == 0;
    let text = format!("{:0digits$o}", if fits { value } else { 0 });
    put(field, text.as_bytes()) && fits
}

fn seal(block: &mut [u8; BLOCK]) {
    block[257..263].copy_from_slice(b"ustar\0");
    block[263..265].copy_from_slice(b"00");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::tar::{Reader, Sparse};
    use super::*;

    fn entry(path: &[u8], kind: Kind) -> Entry {
        Entry {
            kind,
            path: path.to_vec(),
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (1, 0),
            size: 0,
            xattrs: Vec::new(),
            device: (0, 0),
            sparse: None,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = [b"d".repeat(90), b"e".repeat(90), b"f".repeat(90)].join(&b'/');
        let mut entries = vec![
            entry(b"plain", Kind::File),
            entry(&long[..181], Kind::Folder),
            entry(&long, Kind::Symlink),
            entry("grüße".as_bytes(), Kind::Fifo),
            entry(b"null", Kind::CharDevice),
        ];
        entries[0].size = 700;
        entries[0].uid = 3_000_000;
        entries[0].mtime = (1 << 40, 5);
        entries[0].xattrs = vec![("user.x".to_owned(), b"\0a=b\n".to_vec())];
        entries[2].link = b"x/".repeat(200);
        entries[4].device = (1, 3);
        let mut writer = Writer::new(Vec::new());
        writer.comment("said").unwrap();
        for entry in &entries {
            writer.entry(entry).unwrap();
            writer.copy(&mut &[7; 700][..], entry.size).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..]);
        for entry in &entries {
            assert_eq!(reader.next_entry().unwrap().as_ref(), Some(entry));
        }
        assert_eq!(reader.comment(), Some(&b"said"[..]));
        assert!(reader.next_entry().unwrap().is_none());
        assert!(Writer::new(Vec::new()).content(b"x").is_err());
    }

    #[test]
    fn holes_are_written_and_read_again() {
        let pieces = vec![(0, 3), (1 << 33, 512), ((1 << 33) + 512, 1)];
        let mut file = entry(b"dir/holes", Kind::File);
        file.size = 516;
        file.sparse = Some(Sparse {
            size: 1 << 34,
            map: Some(pieces.clone()),
        });
        let mut writer = Writer::new(Vec::new());
        writer.entry(&file).unwrap();
        writer.content(&[1; 516]).unwrap();
        writer.entry(&entry(b"next", Kind::File)).unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..]);
        let read = reader.next_entry().unwrap().unwrap();
        let sparse = read.sparse.as_ref().unwrap();
        assert_eq!((&read.path, sparse.size), (&file.path, 1 << 34));
        let end = vec![(1 << 34, 0)];
        assert_eq!(reader.read_map(sparse).unwrap(), [pieces, end].concat());
        assert_eq!(reader.remaining(), 516);
        assert_eq!(reader.next_entry().unwrap().unwrap().path, b"next");
    }
}
