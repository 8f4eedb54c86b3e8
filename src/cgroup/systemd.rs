//! The user's systemd, asked over its own socket: two calls of the D-Bus protocol
//! (D-Bus Specification 0.43), with no bus and no program in between.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};

/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any message that is meant for us.
const MOST_BYTES: usize = 1 << 20;

const DESTINATION: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// A conversation with the user's systemd.
pub struct UserManager {
    stream: UnixStream,
    serial: u32,
    /// Jobs that have ended, and how.
    ended: Vec<(String, String)>,
    until: Instant,
}

impl UserManager {
    /// Connects to the one that listens at `socket`, as user `uid` of the host.
    /// None: nobody does.
    pub fn connect(socket: &Path, uid: u32) -> Result<Option<Self>> {
        let Ok(stream) = UnixStream::connect(socket) else {
            return Ok(None);
        };
        let mut manager = Self {
            stream,
            serial: 0,
            ended: Vec::new(),
            until: Instant::now() + PATIENCE,
        };
        manager
            .sign_in(uid)
            .tried(|| "sign in to the user's systemd")?;
        Ok(Some(manager))
    }

    /// SASL, mechanism EXTERNAL: the kernel says who we are.
    fn sign_in(&mut self, uid: u32) -> Result<()> {
        let token: String = uid
            .to_string()
            .bytes()
            .map(|it| format!("{it:02x}"))
            .collect();
        write!(self.stream, "\0AUTH EXTERNAL {token}\r\n")?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > 512 {
                return Err(Error::other("it answers what nobody asked"));
            }
        }
        if !line.starts_with(b"OK ") {
            let words = String::from_utf8_lossy(&line);
            return Err(Error::other(format!("it says `{}`", words.trim())));
        }
        Ok(self.stream.write_all(b"BEGIN\r\n")?)
    }

    /// Starts the scope `unit` in `slice` with the process `pid` in it, whose cgroup
    /// is ours to divide. Who is asked to end there has `patience` for it, not systemd's
    /// 90 seconds, by which a logout would wait. Returns when the process is there.
    pub fn start_scope(
        mut self,
        unit: &str,
        slice: &str,
        pid: u32,
        patience: Option<Duration>,
    ) -> Result<()> {
        let tried = || format!("have systemd start {unit}");
        let mut body = Body::default();
        body.string(unit);
        body.string("fail");
        body.array(8, |properties| {
            let mut add = |name: &str, signature: &str, value: &dyn Fn(&mut Body)| {
                properties.align(8);
                properties.string(name);
                properties.signature(signature);
                value(properties);
            };
            add("Description", "s", &|it| it.string("coracle container"));
            add("Slice", "s", &|it| it.string(slice));
            add("Delegate", "b", &|it| it.number(1));
            // It outlives the session of who started it, and leaves no failed unit.
            add("DefaultDependencies", "b", &|it| it.number(0));
            add("CollectMode", "s", &|it| it.string("inactive-or-failed"));
            // systemd's default is a share of the machine: ours is --pids-limit.
            add("TasksMax", "t", &|it| it.long(u64::MAX));
            if let Some(patience) = patience {
                // Nothing is no limit there.
                let micros = u64::try_from(patience.as_micros())
                    .unwrap_or(u64::MAX)
                    .max(1);
                add("TimeoutStopUSec", "t", &|it| it.long(micros));
            }
            add("PIDs", "au", &|it| it.array(4, |pids| pids.number(pid)));
        });
        // Auxiliary units: none.
        body.array(8, |_| {});
        let serial = self
            .call("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
            .tried(tried)?;
        self.job_done(serial).tried(tried)
    }

    /// Moves the process `pid` into the cgroup `subgroup` of the scope `unit`.
    fn attach(mut self, unit: &str, subgroup: &str, pid: u32) -> Result<()> {
        let mut body = Body::default();
        body.string(unit);
        body.string(subgroup);
        body.array(4, |pids| pids.number(pid));
        let serial = self.call("AttachProcessesToUnit", "ssau", body)?;
        self.answer(serial).map(drop)
    }

    /// Sends a call and gives its serial number.
    fn call(&mut self, member: &str, signature: &str, body: Body) -> Result<u32> {
        self.serial += 1;
        let message = encode(self.serial, member, signature, body);
        self.stream.write_all(&message)?;
        Ok(self.serial)
    }

    /// Waits for the answer to the call `serial`.
    fn answer(&mut self, serial: u32) -> Result<Vec<u8>> {
        loop {
            match self.hear()? {
                Message::Answer { to, body } if to == serial => return Ok(body),
                Message::Failed { to, words } if to == serial => return Err(Error::other(words)),
                _ => {}
            }
        }
    }

    /// Waits for the end of the job that the call `serial` began.
    fn job_done(&mut self, serial: u32) -> Result<()> {
        let job = Reader::new(&self.answer(serial)?).string()?;
        loop {
            // It may have ended before we heard of it.
            if let Some((_, result)) = self.ended.iter().find(|(ended, _)| *ended == job) {
                return match result.as_str() {
                    "done" => Ok(()),
                    result => Err(Error::other(format!("the job's result is `{result}`"))),
                };
            }
            self.hear()?;
        }
    }

    fn hear(&mut self) -> Result<Message> {
        let mut fixed = [0; 16];
        self.read(&mut fixed)?;
        let (fields, body) = lengths(&fixed)?;
        let mut fields = vec![0; fields];
        self.read(&mut fields)?;
        let mut bytes = vec![0; body];
        self.read(&mut bytes)?;
        let message = decode(fixed[1], &fields, bytes)?;
        if let Message::JobRemoved { job, result } = &message {
            self.ended.push((job.clone(), result.clone()));
        }
        Ok(message)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        // Nothing is no limit here.
        let left = left.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left))?;
        self.stream
            .read_exact(into)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => Error::other("it does not answer"),
                _ => error.into(),
            })
    }
}

/// Who can move processes into a cgroup that lies in a scope of systemd's.
pub struct Attacher {
    manager: UserManager,
    unit: String,
    subgroup: String,
}

impl Attacher {
    /// The one at `socket`, for user `uid` of the host and the cgroup at `folder`.
    /// None: nobody listens, or the cgroup is in no scope of a container.
    pub fn connect(socket: &Path, uid: u32, folder: &Path) -> Result<Option<Self>> {
        let names: Vec<&str> = folder.iter().filter_map(|name| name.to_str()).collect();
        // The second is one that `--cgroups=split` made.
        let is_ours = |name: &&str| {
            ["libpod-", "podman-"].iter().any(|it| name.starts_with(it)) && name.ends_with(".scope")
        };
        let Some(at) = names.iter().position(is_ours) else {
            return Ok(None);
        };
        Ok(UserManager::connect(socket, uid)?.map(|manager| Self {
            manager,
            unit: names[at].to_owned(),
            subgroup: format!("/{}", names[at + 1..].join("/")),
        }))
    }

    /// Moves the process `pid` there.
    pub fn attach(self, pid: i32) -> Result<()> {
        let unit = &self.unit;
        self.manager
            .attach(unit, &self.subgroup, pid.unsigned_abs())
            .tried(|| format!("have systemd move a process into {unit}"))
    }
}

/// The values of a message, each aligned to its size.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
}

impl Body {
    fn align(&mut self, size: usize) {
        let length = self.bytes.len().next_multiple_of(size);
        self.bytes.resize(length, 0);
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn long(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements are aligned to `size`; `fill` adds them.
    fn array(&mut self, size: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.bytes.len() - 4;
        // The padding before the first element is no part of the length.
        self.align(size);
        let begin = self.bytes.len();
        fill(self);
        let length = (self.bytes.len() - begin) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

const CALL: u8 = 1;
const ANSWER: u8 = 2;
const FAILED: u8 = 3;
const SIGNAL: u8 = 4;

/// Header fields.
const PATH: u8 = 1;
const MEMBER_OF: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_TO: u8 = 5;
const TO: u8 = 6;
const SIGNATURE: u8 = 8;

fn encode(serial: u32, member: &str, signature: &str, body: Body) -> Vec<u8> {
    let mut message = Body {
        bytes: vec![b'l', CALL, 0, 1],
    };
    message.number(body.bytes.len() as u32);
    message.number(serial);
    message.array(8, |fields| {
        for (field, kind, text) in [
            (PATH, "o", OBJECT),
            (MEMBER_OF, "s", INTERFACE),
            (MEMBER, "s", member),
            (TO, "s", DESTINATION),
        ] {
            fields.align(8);
            fields.bytes.push(field);
            fields.signature(kind);
            fields.string(text);
        }
        fields.align(8);
        fields.bytes.push(SIGNATURE);
        fields.signature("g");
        fields.signature(signature);
    });
    message.align(8);
    message.bytes.extend(body.bytes);
    message.bytes
}

/// What we listen for.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    Answer { to: u32, body: Vec<u8> },
    Failed { to: u32, words: String },
    JobRemoved { job: String, result: String },
    Other,
}

/// The bytes of the header fields, with their padding, and of the body, by the
/// first 16 bytes of a message.
fn lengths(fixed: &[u8; 16]) -> Result<(usize, usize)> {
    let number = |at: usize| {
        let bytes = [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
        u32::from_le_bytes(bytes) as usize
    };
    let (body, fields) = (number(4), number(12));
    if fixed[0] != b'l' || fixed[3] != 1 || body > MOST_BYTES || fields > MOST_BYTES {
        return Err(Error::other("it speaks no D-Bus that we know"));
    }
    Ok((fields.next_multiple_of(8), body))
}

fn decode(kind: u8, fields: &[u8], body: Vec<u8>) -> Result<Message> {
    let mut to = 0;
    let mut member = String::new();
    let mut reader = Reader::new(fields);
    loop {
        reader.align(8);
        if reader.at >= fields.len() {
            break;
        }
        let field = reader.byte()?;
        match reader.signature()?.as_str() {
            "u" => {
                let number = reader.number()?;
                if field == REPLY_TO {
                    to = number;
                }
            }
            "s" | "o" => {
                let text = reader.string()?;
                if field == MEMBER {
                    member = text;
                }
            }
            "g" => {
                reader.signature()?;
            }
            other => return Err(Error::other(format!("a header field of type `{other}`"))),
        }
    }
    Ok(match kind {
        ANSWER => Message::Answer { to, body },
        FAILED => Message::Failed {
            to,
            words: Reader::new(&body).string().unwrap_or_default(),
        },
        SIGNAL if member == "JobRemoved" => {
            let mut reader = Reader::new(&body);
            reader.number()?;
            let job = reader.string()?;
            reader.string()?;
            Message::JobRemoved {
                job,
                result: reader.string()?,
            }
        }
        _ => Message::Other,
    })
}

/// Values read in their order.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, size: usize) {
        self.at = self.at.next_multiple_of(size);
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at = self.at.saturating_add(length);
        taken.ok_or_else(|| Error::other("a message that ends too early"))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32> {
        self.align(4);
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self, length: usize) -> Result<String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        // The zero at its end.
        self.take(1)?;
        Ok(text)
    }

    fn string(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> Result<String> {
        let length = self.byte()? as usize;
        self.text(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn values_are_aligned_to_their_size() {
        let mut body = Body::default();
        body.string("ab");
        body.number(7);
        body.array(8, |it| {
            it.align(8);
            it.long(1);
        });
        body.array(8, |_| {});
        assert_eq!(
            body.bytes,
            [
                2, 0, 0, 0, b'a', b'b', 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, // an array of 8 bytes
                1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // and an empty one
            ]
        );
    }

    #[test]
    fn a_call_can_be_read_back() {
        let mut body = Body::default();
        body.string("x.scope");
        let message = encode(9, "StartTransientUnit", "s", body);
        let fixed: [u8; 16] = message[..16].try_into().unwrap();
        let (fields, length) = lengths(&fixed).unwrap();
        assert_eq!(message.len(), 16 + fields + length);
        assert_eq!(&message[..4], b"l\x01\x00\x01");
        assert_eq!(&message[8..12], [9, 0, 0, 0]);
        let mut reader = Reader::new(&message[16 + fields..]);
        assert_eq!(reader.string().unwrap(), "x.scope");
        // As a call of ours it is nothing that we listen for.
        let read = decode(CALL, &message[16..16 + fields], Vec::new()).unwrap();
        assert_eq!(read, Message::Other);
    }

    #[test]
    fn broken_messages_are_errors() {
        let fixed = |change: &dyn Fn(&mut [u8; 16])| {
            let mut fixed = [0; 16];
            fixed[0] = b'l';
            fixed[3] = 1;
            change(&mut fixed);
            lengths(&fixed).is_ok()
        };
        assert!(fixed(&|_| {}));
        assert!(!fixed(&|it| it[0] = b'B'));
        assert!(!fixed(&|it| it[3] = 2));
        assert!(!fixed(&|it| it[7] = 0xff));
        assert!(!fixed(&|it| it[15] = 0xff));
        assert!(decode(ANSWER, &[5, 1, b'u', 0, 1, 0, 0], Vec::new()).is_err());
        assert!(decode(ANSWER, &[5, 1, b'v', 0, 1, 0, 0, 0], Vec::new()).is_err());
        assert!(decode(SIGNAL, &[3, 1, b's', 0, 0xff, 0xff, 0xff, 0xff], Vec::new()).is_err());
        assert!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, b'a'])
                .string()
                .is_err()
        );
        // All beginnings of a header are refused or read, none panics.
        let whole = encode(1, "Member", "s", Body::default());
        for end in 16..whole.len() {
            let _ = decode(SIGNAL, &whole[16..end], whole[..end - 16].to_vec());
        }
    }

    /// A message of systemd's to us.
    fn said(kind: u8, reply_to: u32, member: &str, body: &Body) -> Vec<u8> {
        let mut message = Body {
            bytes: vec![b'l', kind, 1, 1],
        };
        message.number(body.bytes.len() as u32);
        message.number(77);
        message.array(8, |fields| {
            if reply_to > 0 {
                fields.bytes.push(REPLY_TO);
                fields.signature("u");
                fields.number(reply_to);
            }
            if !member.is_empty() {
                fields.align(8);
                fields.bytes.push(MEMBER);
                fields.signature("s");
                fields.string(member);
            }
        });
        message.align(8);
        message.bytes.extend(&body.bytes);
        message.bytes
    }

    fn job_removed(job: &str, result: &str) -> Vec<u8> {
        let mut body = Body::default();
        body.number(4);
        body.string(job);
        body.string("x.scope");
        body.string(result);
        said(SIGNAL, 0, "JobRemoved", &body)
    }

    fn text(text: &str) -> Body {
        let mut body = Body::default();
        body.string(text);
        body
    }

    /// What `start_scope` comes to where systemd says `words`.
    fn started(words: &[u8]) -> Result<()> {
        let dir = std::env::temp_dir().join(format!("coracle-{}", crate::id::random_hex::<8>()));
        std::fs::create_dir(&dir).unwrap();
        let socket = dir.join("private");
        let listener = UnixListener::bind(&socket).unwrap();
        let words = words.to_vec();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = *b"\0AUTH EXTERNAL 31303031\r\n";
            heard.fill(0);
            stream.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"\0AUTH EXTERNAL 31303031\r\n");
            stream.write_all(b"OK 0123\r\n").unwrap();
            stream.write_all(&words).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            rest
        });
        let manager = UserManager::connect(&socket, 1001).unwrap().unwrap();
        let result = manager.start_scope("x.scope", "user.slice", 42, Some(Duration::ZERO));
        let rest = server.join().unwrap();
        assert!(rest.starts_with(b"BEGIN\r\nl\x01"));
        std::fs::remove_dir_all(&dir).unwrap();
        result
    }

    #[test]
    fn a_scope_is_waited_for_until_its_job_is_done() {
        let answer = said(ANSWER, 1, "", &text("/job/5"));
        let other = said(SIGNAL, 0, "UnitNew", &text("x"));
        let done = job_removed("/job/5", "done");
        started(&[&other[..], &answer, &job_removed("/job/4", "failed"), &done].concat()).unwrap();
        // The end of a job may be told before the job is.
        started(&[&done[..], &answer].concat()).unwrap();
        for (words, why) in [
            (
                [&answer[..], &job_removed("/job/5", "failed")].concat(),
                "have systemd start x.scope: the job's result is `failed`",
            ),
            (
                said(FAILED, 1, "", &text("Unit x.scope was already loaded")),
                "have systemd start x.scope: Unit x.scope was already loaded",
            ),
        ] {
            assert_eq!(started(&words).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn nobody_at_the_socket_is_no_error() {
        let nowhere = Path::new("/nonexistent/private");
        assert!(UserManager::connect(nowhere, 1).unwrap().is_none());
        let scope = Path::new("/sys/fs/cgroup/a/libpod-x.scope/container");
        assert!(Attacher::connect(nowhere, 1, scope).unwrap().is_none());
        let plain = Path::new("/sys/fs/cgroup/a/libpod-x");
        assert!(Attacher::connect(nowhere, 1, plain).unwrap().is_none());
    }
}
