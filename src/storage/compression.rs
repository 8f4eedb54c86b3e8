//! Compressed streams, known by their first bytes.

use std::io::{self, BufReader, Read};

use lzma_rust2::XzReader;

use crate::error::Result;

const BUFFER: usize = 256 * 1024;

/// The most memory that a stream may ask for to be read, in KiB: `xz -9` takes 64 MiB.
const MOST_MEMORY: u32 = 256 << 10;

/// What `from` holds, decompressed: gzip, zstd, bzip2 and xz, and anything else as it is.
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
        Kind::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(
            BufReader::with_capacity(BUFFER, whole),
        )),
        Kind::Xz => {
            let from = BufReader::with_capacity(BUFFER, whole);
            Box::new(XzReader::new_mem_limit(from, true, MOST_MEMORY))
        }
    })
}

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

/// How a stream that begins with `first` (six bytes are enough) is compressed.
pub fn kind(first: &[u8]) -> Kind {
    match first {
        [0x1f, 0x8b, 8, ..] => Kind::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
        // A skippable frame, as estargz's zstd kin begin with.
        [low, 0x2a, 0x4d, 0x18, ..] if low & 0xf0 == 0x50 => Kind::Zstd,
        [b'B', b'Z', b'h', ..] => Kind::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Kind::Xz,
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
        // What `printf 'some text\n'` gives with xz, and with bzip2.
        let xz: &[u8] = &XZ;
        for bytes in [xz, &BZIP2] {
            let mut out = String::new();
            let mut from = decompressed(bytes).unwrap();
            from.read_to_string(&mut out).unwrap();
            assert_eq!(out, "some text\n");
            // One that is cut short, or is another, is an error.
            let mut from = decompressed(&bytes[..bytes.len() - 12]).unwrap();
            assert!(from.read_to_end(&mut Vec::new()).is_err());
            let mut wrong = bytes.to_vec();
            wrong[bytes.len() / 2] ^= 4;
            let mut from = decompressed(&wrong[..]).unwrap();
            assert!(from.read_to_end(&mut Vec::new()).is_err());
        }
    }

    const XZ: [u8; 68] = [
        253, 55, 122, 88, 90, 0, 0, 4, 230, 214, 180, 70, 2, 0, 33, 1, 22, 0, 0, 0, 116, 47, 229,
        163, 1, 0, 9, 115, 111, 109, 101, 32, 116, 101, 120, 116, 10, 0, 0, 0, 128, 65, 73, 13, 17,
        218, 254, 27, 0, 1, 34, 10, 21, 26, 225, 103, 31, 182, 243, 125, 1, 0, 0, 0, 0, 4, 89, 90,
    ];
    const BZIP2: [u8; 49] = [
        66, 90, 104, 57, 49, 65, 89, 38, 83, 89, 16, 105, 98, 245, 0, 0, 3, 81, 128, 0, 16, 64, 0,
        2, 2, 140, 64, 32, 0, 34, 3, 26, 132, 48, 34, 114, 215, 24, 30, 46, 228, 138, 112, 161, 32,
        32, 210, 197, 234,
    ];
}
