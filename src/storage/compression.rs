//! Compressed streams, known by their first bytes.

use std::io::{self, BufReader, Read};

use crate::error::{Error, Result};

const BUFFER: usize = 256 * 1024;

/// What `from` holds, decompressed: gzip and zstd, and anything else as it is.
pub fn decompressed<'a>(mut from: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let mut first = Vec::new();
    from.by_ref().take(6).read_to_end(&mut first)?;
    let kind = kind(&first);
    let whole = io::Cursor::new(first).chain(from);
    Ok(match kind {
        Kind::Plain => Box::new(whole),
        Kind::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(
            BufReader::with_capacity(BUFFER, whole),
        )),
        Kind::Zstd => Box::new(zstd::stream::Decoder::with_buffer(
            BufReader::with_capacity(BUFFER, whole),
        )?),
        Kind::Unknown(name) => return Err(Error::unsupported(format!("{name} compression"))),
    })
}

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Gzip,
    Zstd,
    /// One that we cannot read.
    Unknown(&'static str),
}

/// How a stream that begins with `first` (six bytes are enough) is compressed.
pub fn kind(first: &[u8]) -> Kind {
    match first {
        [0x1f, 0x8b, 8, ..] => Kind::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
        // A skippable frame, as estargz's zstd kin begin with.
        [low, 0x2a, 0x4d, 0x18, ..] if low & 0xf0 == 0x50 => Kind::Zstd,
        [b'B', b'Z', b'h', ..] => Kind::Unknown("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Kind::Unknown("xz"),
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn streams_are_known_by_their_first_bytes() {
        let text = b"some text".repeat(1000);
        let mut gzip = Vec::new();
        // Two members, as parallel compressors write them.
        for half in text.chunks(4500) {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(half).unwrap();
            gzip.extend(encoder.finish().unwrap());
        }
        let zstd = zstd::stream::encode_all(&text[..], 1).unwrap();
        for bytes in [&gzip, &zstd, &text, &Vec::new(), &b"ab".to_vec()] {
            let mut out = Vec::new();
            decompressed(&bytes[..])
                .unwrap()
                .read_to_end(&mut out)
                .unwrap();
            assert!(out == text || out == *bytes);
        }
        let error = decompressed(&b"\xfd7zXZ\0rest"[..]).err().unwrap();
        assert_eq!(
            error.to_string(),
            "xz compression is not supported by coracle yet"
        );
    }
}
