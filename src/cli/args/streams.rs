//! Which streams are carried, and the keys that stop carrying them.

use crate::cli::args::csv;
use crate::error::{Error, Kind, Result};

/// Keys that detach from a container unless said.
const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// The streams between the caller and a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// What `--attach` and `--interactive` come to. `attach`: none where the flag is not given.
pub fn streams(attach: Option<&[String]>, interactive: bool) -> Result<Streams> {
    let Some(attach) = attach else {
        return Ok(Streams {
            stdin: interactive,
            stdout: true,
            stderr: true,
        });
    };
    let mut streams = Streams {
        stdin: false,
        stdout: false,
        stderr: false,
    };
    let mut any = false;
    for name in csv::all("-a, --attach", attach)? {
        any = true;
        match name.to_ascii_lowercase().as_str() {
            // Without -i nothing is read.
            "stdin" => streams.stdin = interactive,
            "stdout" => streams.stdout = true,
            "stderr" => streams.stderr = true,
            _ => {
                return Err(Error::usage(format!(
                    "invalid stream {name:?} for --attach - must be one of stdin, stdout, or \
                     stderr: invalid argument"
                )));
            }
        }
    }
    if any {
        Ok(streams)
    } else {
        Err(Error::new(
            Kind::CannotInvoke,
            "must provide at least one stream to attach to: invalid argument",
        ))
    }
}

/// The bytes of `--detach-keys`: single characters and `ctrl-X`, with commas between.
/// Empty is no keys; without the flag they are ctrl-p and ctrl-q.
pub fn detach_keys(flag: Option<&str>) -> Result<Vec<u8>> {
    let text = flag.unwrap_or(DETACH_KEYS);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|key| {
            key_byte(key).ok_or_else(|| {
                // Podman reads them when it attaches, hence 126.
                Error::new(
                    Kind::CannotInvoke,
                    format!("invalid detach keys: Unknown character: '{key}'"),
                )
            })
        })
        .collect()
}

fn key_byte(key: &str) -> Option<u8> {
    match key.as_bytes() {
        [byte] => Some(*byte),
        // What a terminal sends for a key with ctrl: the letter without its upper bits.
        [
            b'c',
            b't',
            b'r',
            b'l',
            b'-',
            key @ (b'a'..=b'z' | b'@' | b'['..=b'_'),
        ] => Some(key & 0x1f),
        b"DEL" => Some(127),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_characters_or_ctrl() {
        for (text, bytes) in [
            (DETACH_KEYS, &[16, 17][..]),
            ("", &[]),
            ("a,b,ctrl-@", &[b'a', b'b', 0]),
            ("ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", &[27, 28, 29, 30, 31]),
            ("ctrl-z", &[26]),
        ] {
            assert_eq!(detach_keys(Some(text)).unwrap(), bytes, "{text}");
        }
        assert_eq!(detach_keys(None).unwrap(), [16, 17]);
        for (text, bad) in [
            ("foo", "foo"),
            ("ctrl-5", "ctrl-5"),
            ("ctrl-A", "ctrl-A"),
            ("a,,", ""),
        ] {
            let error = detach_keys(Some(text)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid detach keys: Unknown character: '{bad}'")
            );
            assert_eq!(error.exit_code(), 126);
        }
    }

    #[test]
    fn streams_are_those_attached() {
        let given = |attach: Option<&str>, interactive| {
            let attach = attach.map(|text| [text.to_owned()]);
            streams(attach.as_ref().map(|it| &it[..]), interactive)
                .map(|it| [it.stdin, it.stdout, it.stderr])
                .map_err(|error| error.to_string())
        };
        for (attach, interactive, wanted) in [
            (None, false, [false, true, true]),
            (None, true, [true, true, true]),
            (Some("STDOUT"), true, [false, true, false]),
            (Some("stdin,stderr"), true, [true, false, true]),
            (Some("stdin"), false, [false, false, false]),
        ] {
            assert_eq!(given(attach, interactive), Ok(wanted), "{attach:?}");
        }
        assert_eq!(
            given(Some("stdin,foo"), false).unwrap_err(),
            "invalid stream \"foo\" for --attach - must be one of stdin, stdout, or stderr: \
             invalid argument"
        );
        assert_eq!(
            given(Some(""), false).unwrap_err(),
            "must provide at least one stream to attach to: invalid argument"
        );
    }
}
