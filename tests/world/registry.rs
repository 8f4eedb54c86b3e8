//! Registries of a test's own: Debian's docker-registry, and one that lies, breaks
//! off and stalls as the test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use coracle::id::Digest;
use serde_json::{Value, json};

use super::World;

/// Debian's docker-registry at a port of its own.
pub struct Registry {
    child: Child,
    pub host: String,
}

impl Registry {
    pub fn start(world: &World) -> Self {
        Self::with(world, "", "")
    }

    /// `http` and `more` are added to its configuration, which is YAML.
    pub fn with(world: &World, http: &str, more: &str) -> Self {
        let store = world.folder("registry");
        let config = world.file(
            "registry.yml",
            format!(
                "version: 0.1\nlog: {{level: info, formatter: text, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: \"127.0.0.1:0\"{http}}}\n{more}",
                store.display()
            ),
        );
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = line.split("listening on ").nth(1)?;
                Some(rest.split(['"', ' ', ',']).next()?.to_owned())
            })
            .expect("docker-registry says where it listens");
        // It must not stop because nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was asked of a [`Fake`].
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub headers: BTreeMap<String, String>,
}

/// What it answers.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Said in place of the body's own.
    pub length: Option<u64>,
    /// The connection ends after so many bytes of the body.
    pub cut: Option<usize>,
    /// After so many bytes of the body nothing comes until the other side hangs up.
    pub stall: Option<usize>,
    /// The body comes again and again, its length unsaid.
    pub endless: bool,
}

impl Answer {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            length: None,
            cut: None,
            stall: None,
            endless: false,
        }
    }

    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::ok("")
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

pub type Rule = dyn Fn(&Asked, Answer) -> Answer + Send + Sync;

/// A registry with one image, `it:1`, and a rule that may change every answer.
pub struct Fake {
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub fn new(
        image: Image,
        rule: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let rule: Arc<Rule> = Arc::new(rule);
        let image = Arc::new(image);
        let log = asked.clone();
        // It ends with the test's process: nothing of it is left.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (image, rule, log) = (image.clone(), rule.clone(), log.clone());
                std::thread::spawn(move || serve(&stream, &image, &*rule, &log));
            }
        });
        Self { host, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn name(&self) -> String {
        format!("{}/it:1", self.host)
    }
}

fn serve(stream: &TcpStream, image: &Image, rule: &Rule, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            match header.trim().split_once(": ") {
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                None => break,
            }
        }
        let asked = Asked {
            line: line.trim_end_matches(" HTTP/1.1\r\n").to_owned(),
            headers,
        };
        log.lock().unwrap().push(asked.clone());
        let answer = rule(&asked, image.answer(&asked));
        let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if answer.endless {
            head.push_str("transfer-encoding: chunked\r\n\r\n");
            let chunk = [
                format!("{:x}\r\n", answer.body.len()).as_bytes(),
                &answer.body,
                b"\r\n",
            ]
            .concat();
            let mut stream = stream;
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&chunk).is_ok() {}
            return;
        }
        let length = answer.length.unwrap_or(answer.body.len() as u64);
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
        let cut = answer.cut.or(answer.stall).unwrap_or(answer.body.len());
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).is_err()
            || stream.write_all(&answer.body[..cut]).is_err()
            || answer.stall.is_some() && reader.read(&mut [0]).is_ok()
            || answer.cut.is_some()
            || length != answer.body.len() as u64
        {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// An image as a registry has it.
#[derive(Clone)]
pub struct Image {
    pub manifest: Vec<u8>,
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// Of gzipped `layers`.
    pub fn of(layers: &[Vec<u8>]) -> Self {
        let mut image = Self {
            manifest: Vec::new(),
            blobs: BTreeMap::new(),
        };
        let mut descriptors = Vec::new();
        for tar in layers {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(tar).unwrap();
            let blob = gzip.finish().unwrap();
            descriptors.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": image.add(&blob), "size": blob.len(),
            }));
        }
        let ids: Vec<String> = layers.iter().map(|tar| Digest::of(tar).into()).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        image.finish(config.to_string().into_bytes(), &descriptors)
    }

    pub fn finish(mut self, config: Vec<u8>, layers: &[Value]) -> Self {
        let digest = self.add(&config);
        self.manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest, "size": config.len()},
            "layers": layers,
        })
        .to_string()
        .into_bytes();
        self
    }

    pub fn add(&mut self, blob: &[u8]) -> String {
        let digest = String::from(Digest::of(blob));
        self.blobs.insert(digest.clone(), blob.to_vec());
        digest
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let path = asked.line.split(' ').nth(1).unwrap_or_default();
        if path == "/v2/" {
            return Answer::ok("{}");
        }
        if path.contains("/manifests/") {
            return Answer::ok(self.manifest.clone())
                .header("content-type", "application/vnd.oci.image.manifest.v1+json");
        }
        let digest = path.rsplit('/').next().unwrap_or_default();
        let Some(blob) = self.blobs.get(digest) else {
            return Answer::status(404);
        };
        match asked.headers.get("range").and_then(|it| {
            let from = it.strip_prefix("bytes=")?.split('-').next()?;
            from.parse::<usize>().ok()
        }) {
            Some(from) => Answer {
                status: 206,
                ..Answer::ok(&blob[from..])
            }
            .header(
                "content-range",
                format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()),
            ),
            None => Answer::ok(blob.clone()),
        }
    }
}

pub fn is_layer(asked: &Asked, image: &Image) -> bool {
    let layer = serde_json::from_slice::<Value>(&image.manifest).unwrap();
    let digest = layer["layers"][0]["digest"].as_str().unwrap().to_owned();
    asked.line.ends_with(&digest)
}

pub const PULL: &str = "pull --tls-verify=false --retry-delay=1ms";

/// Nothing of an image is there.
pub fn is_empty(world: &World) {
    assert_eq!(
        world.coracle("images -aq").stdout().trim_end().to_owned(),
        ""
    );
    for folder in ["layers", "staging", "images", "refs"] {
        let left: Vec<_> = std::fs::read_dir(world.data().join(folder))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}
