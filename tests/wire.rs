//! What lies between coracle and a registry: TLS and who may be believed, proxies,
//! connections that break, stall and never end, and a `kill -9` in the middle.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle::id::Digest;
use coracle::registry::{Client, Endpoint, Options};
use coracle::settings::{Overrides, Settings};
use rustix::process::Signal;

use crate::needs;
use crate::world::registry::{Answer, Asked, Fake, Image, PULL, Registry, is_empty, is_layer};
use crate::world::{World, layer, names};

/// A key that is made at once.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority, `keys/ca.crt` with its key.
fn authority(world: &World) {
    world
        .shell(&format!(
            "mkdir -p keys/signed; cd keys; touch index; echo 01 >serial
             openssl req -x509 {KEY} -days 2 -subj /CN=ca -keyout ca.key -out ca.crt
             printf '[ca]\\ndefault_ca=it\\n[it]\\ndatabase=index\\nserial=serial\\n\
                     new_certs_dir=signed\\ndefault_md=sha256\\npolicy=any\\n\
                     unique_subject=no\\n[any]\\ncommonName=supplied\\n' >conf"
        ))
        .ok();
}

/// `keys/NAME.crt`, signed by the authority, good for `names` and until `end`.
fn certificate(world: &World, name: &str, names: &str, end: &str) {
    world
        .shell(&format!(
            "cd keys; openssl req {KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr
             echo subjectAltName={names} >{name}.ext
             openssl ca -batch -notext -config conf -cert ca.crt -keyfile ca.key \
                -startdate 20200101000000Z -enddate {end} \
                -extfile {name}.ext -in {name}.csr -out {name}.crt"
        ))
        .ok();
}

const FAR: &str = "20491231235959Z";

/// A registry that shows `keys/NAME.crt`.
fn with_tls(world: &World, name: &str, http: &str, more: &str) -> Registry {
    let keys = world.home().join("keys");
    let keys = keys.display();
    Registry::with(
        world,
        &format!(", tls: {{certificate: {keys}/{name}.crt, key: {keys}/{name}.key{http}}}"),
        more,
    )
}

#[test]
fn certificates_are_judged_as_go_judges_them() {
    let world = World::new();
    needs!(world, Registry, Openssl);
    authority(&world);
    certificate(&world, "server", "IP:127.0.0.1", FAR);
    certificate(&world, "old", "IP:127.0.0.1", "20200102000000Z");
    world
        .shell(&format!(
            "cd keys; openssl req -x509 {KEY} -days 2 -subj /CN=self \
                -addext subjectAltName=IP:127.0.0.1 -keyout self.key -out self.crt
             mkdir ca none alone; cp ca.crt ca/; cp self.crt alone/"
        ))
        .ok();
    let registry = with_tls(&world, "server", "", "");
    let host = registry.host.clone();
    let port = host.rsplit(':').next().unwrap().to_owned();
    let refuses = |line: &str, words: &str| {
        let failed = world.coracle(line).fails(125);
        failed.says(words);
        let said = failed.stderr();
        let lines = said.lines().filter(|line| !line.starts_with("Hint: "));
        assert_eq!(lines.count(), 1, "{said}");
    };
    let unknown =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    refuses(&format!("push -q IMAGE {host}/a/it:1"), unknown);
    world
        .coracle(&format!("push -q --cert-dir keys/ca IMAGE {host}/a/it:1"))
        .ok();
    refuses(
        &format!("pull -q {host}/a/it:1"),
        &format!(
            "Error: unable to copy from source docker://{host}/a/it:1: initializing source \
             docker://{host}/a/it:1: pinging container registry {host}: \
             Get \"https://{host}/v2/\": {unknown}"
        ),
    );
    refuses(
        &format!("pull -q --cert-dir keys/none {host}/a/it:1"),
        unknown,
    );
    world
        .coracle(&format!("pull -q --cert-dir keys/ca {host}/a/it:1"))
        .ok();
    world
        .coracle(&format!("pull -q --tls-verify=false {host}/a/it:1"))
        .ok();
    world
        .coracle(&format!("pull -q {host}/a/it:1"))
        .env("SSL_CERT_FILE", world.home().join("keys/ca.crt"))
        .ok();
    world
        .shell(&format!(
            "mkdir -p .config/containers/certs.d/{host}; cp keys/ca.crt .config/containers/certs.d/{host}/"
        ))
        .ok();
    world.coracle(&format!("pull -q {host}/a/it:1")).ok();
    // The certificate is of the address alone.
    refuses(
        &format!("pull -q --cert-dir keys/ca localhost:{port}/a/it:1"),
        "x509: certificate is valid for 127.0.0.1, not localhost",
    );
    drop(registry);
    let registry = with_tls(&world, "old", "", "");
    refuses(
        &format!("pull -q --cert-dir keys/ca {}/a/it:1", registry.host),
        "x509: certificate has expired or is not yet valid: current time ",
    );
    drop(registry);
    // As Docker's manual has it: the certificate is its own authority.
    let registry = with_tls(&world, "self", "", "");
    let host = &registry.host;
    world
        .coracle(&format!("pull -q --cert-dir keys/alone {host}/a/it:1"))
        .ok();
    refuses(
        &format!("pull -q --cert-dir keys/ca {host}/a/it:1"),
        unknown,
    );
    refuses(
        &format!(
            "pull -q --cert-dir keys/alone localhost:{}/a/it:1",
            host.rsplit(':').next().unwrap()
        ),
        "not localhost",
    );
    drop(registry);
    let plain = Registry::start(&world);
    refuses(
        &format!("pull -q {}/a/it:1", plain.host),
        "http: server gave HTTP response to HTTPS client",
    );
}

#[test]
fn what_the_machine_trusts_is_trusted() {
    let world = World::new();
    needs!(world, Registry, Openssl);
    authority(&world);
    certificate(&world, "server", "IP:127.0.0.1", FAR);
    let registry = with_tls(&world, "server", "", "");
    let name = format!("{}/a/it:1", registry.host);
    for folder in ["containers", "docker"] {
        let certs = format!("etc/{folder}/certs.d/{}", registry.host);
        // Nobody may write there: it is laid over, in a namespace of the test's own.
        let script = "mount -t overlay -o lowerdir=\"$HOME/etc:/etc,userxattr\" it /etc
             exec coracle manifest inspect \"$0\"";
        let inspect = || {
            let line =
                "unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\" \"$1\"";
            world.shell(line).arg(script).arg(&name).fails(125)
        };
        world.shell(&format!("mkdir -p {certs}")).ok();
        inspect().says("certificate signed by unknown authority");
        world.shell(&format!("cp keys/ca.crt {certs}/")).ok();
        inspect().says("manifest unknown");
        world.shell("rm -r etc").ok();
    }
}

#[test]
fn a_registry_may_ask_who_we_are() {
    let world = World::new();
    needs!(world, Registry, Openssl);
    authority(&world);
    certificate(&world, "server", "IP:127.0.0.1", FAR);
    certificate(&world, "me", "DNS:me.example", FAR);
    // bcrypt of "secret".
    let passwords = world.file(
        "htpasswd",
        "me:$2y$05$o9Elh7nRpjJKt6mulnhaF.SLotHy4qXaG1Pbh9mEJlSvwWiT7bekq\n",
    );
    let registry = with_tls(
        &world,
        "server",
        &format!(
            ", clientcas: [{}]",
            world.home().join("keys/ca.crt").display()
        ),
        &format!(
            "auth: {{htpasswd: {{realm: x, path: {}}}}}\n",
            passwords.display()
        ),
    );
    let host = &registry.host;
    world
        .shell(
            "cd keys; mkdir ca me other half
             cp ca.crt ca/; cp ca.crt me.crt me.key me/; cp ca.crt me.crt server.key other/
             cp ca.crt me.crt half/; for dir in me other half; do mv $dir/me.crt $dir/me.cert; done
             mv other/server.key other/me.key",
        )
        .ok();
    let login = |dir: &str| {
        world
            .coracle(&format!(
                "login --cert-dir keys/{dir} -u me --password-stdin {host}"
            ))
            .stdin("secret\n")
    };
    login("ca").fails(125).says("remote error: tls: ");
    login("other")
        .fails(125)
        .says("private key does not match public key");
    let half = login("half").fails(125);
    half.says("missing key me.key for client certificate me.cert");
    login("me").ok();
    world
        .coracle(&format!("push -q --cert-dir keys/me IMAGE {host}/a/it:1"))
        .ok();
    world
        .coracle(&format!("pull -q --cert-dir keys/me {host}/a/it:1"))
        .ok();
    world.coracle(&format!("logout {host}")).ok();
    world
        .coracle(&format!("pull -q --cert-dir keys/me {host}/a/it:1"))
        .fails(125)
        .says("authentication required");
    std::fs::remove_dir_all(world.runtime().join("containers")).unwrap();
}

#[test]
fn a_plain_registry_may_send_us_to_a_secure_one() {
    let world = World::new();
    needs!(world, Registry, Openssl);
    authority(&world);
    certificate(&world, "server", "IP:127.0.0.1", FAR);
    let registry = with_tls(&world, "server", "", "");
    let host = registry.host.clone();
    world
        .coracle(&format!("push -q --tls-verify=false IMAGE {host}/a/it:1"))
        .ok();
    world.coracle("rmi -fa").ok();
    let fake = Fake::new(Image::of(&[layer()]), move |asked, answer| {
        let path = asked.line.split(' ').nth(1).unwrap();
        match path {
            "/v2/" => answer,
            _ => Answer::status(307).header("location", format!("https://{host}{path}")),
        }
    });
    world
        .coracle(&format!("{PULL} -q {}/a/it:1", fake.host))
        .ok();
}

/// A proxy that knows one place, by whatever name it is asked for.
pub struct Proxy {
    pub address: String,
    /// Heads of the requests made of it.
    asked: Arc<Mutex<Vec<String>>>,
    /// What went through it, towards the registry.
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// A `CONNECT` proxy to `place`; each connection breaks after `most` bytes from
    /// there. `open`: it asks for nothing, and is taken for the registry itself.
    pub fn to(place: &str, most: u64, open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, sent) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (log, bytes, place) = (asked.clone(), Arc::clone(&sent), place.to_owned());
        // It ends with the test's process: nothing of it is left.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, bytes, place) = (log.clone(), Arc::clone(&bytes), place.clone());
                std::thread::spawn(move || {
                    if open || admit(&stream, &log) {
                        tunnel(&stream, &TcpStream::connect(place).unwrap(), most, &bytes);
                    }
                });
            }
        });
        Self {
            address,
            asked,
            sent,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// First lines of the HTTP requests that went through.
    fn requests(&self) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        let text = String::from_utf8_lossy(&sent);
        // A request may follow a body that has no line's end.
        let begin = |line: &str| {
            let methods = ["HEAD /", "GET /", "POST /", "PATCH /", "PUT /"];
            methods.iter().filter_map(|method| line.rfind(method)).max()
        };
        let line = |line: &str| {
            let line = line.strip_suffix(" HTTP/1.1")?;
            Some(line[begin(line)?..].to_owned())
        };
        text.split("\r\n").filter_map(line).collect()
    }
}

/// A greeting by SOCKS 5 (RFC 1928, 1929), which is granted: who it was goes to the log.
fn admit_socks(mut stream: &TcpStream, log: &Mutex<Vec<String>>) -> Option<()> {
    let read = |count: usize| {
        let mut bytes = vec![0; count];
        (&*stream).read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let count = read(1)?[0];
    let methods = read(count.into())?;
    let mut user = String::new();
    if methods.contains(&2) {
        stream.write_all(&[5, 2]).ok()?;
        let name = read(read(2)?[1].into())?;
        let password = read(read(1)?[0].into())?;
        user = format!("{}:{} ", text(name), text(password));
        stream.write_all(&[1, 0]).ok()?;
    } else {
        stream.write_all(&[5, 0]).ok()?;
    }
    let asked = read(5)?;
    // A name, which is not looked up here.
    assert_eq!(asked[..4], [5, 1, 0, 3]);
    let name = text(read(asked[4].into())?);
    let port = read(2)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    log.lock().unwrap().push(format!("{user}{name}:{port}"));
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()
}

/// Reads a `CONNECT` and grants it, unless it goes to where nobody may.
fn admit(mut stream: &TcpStream, log: &Mutex<Vec<String>>) -> bool {
    let mut first = [0];
    if stream.peek(&mut first).is_ok_and(|count| count == 1) && first == [5] {
        let _ = stream.read(&mut first);
        return admit_socks(stream, log).is_some();
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return false;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let fits = !head.contains("forbidden");
    log.lock().unwrap().push(head);
    let answer = match fits {
        true => "HTTP/1.1 200 OK\r\n\r\n",
        false => "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
    };
    stream.write_all(answer.as_bytes()).is_ok() && fits
}

fn tunnel(near: &TcpStream, far: &TcpStream, most: u64, sent: &Mutex<Vec<u8>>) {
    let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 16384];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                sent.lock().unwrap().extend(&buffer[..count]);
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
        let (mut far, mut near) = (far, near);
        let _ = std::io::copy(&mut Read::by_ref(&mut far).take(most), &mut near);
        let _ = near.shutdown(Shutdown::Both);
        let _ = far.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_proxy_stands_between_and_breaks_every_connection() {
    let world = World::new();
    needs!(world, Registry, Openssl);
    authority(&world);
    certificate(&world, "server", "DNS:registry.example,IP:127.0.0.1", FAR);
    let registry = with_tls(&world, "server", "", "");
    let certs = "--cert-dir keys/certs";
    world
        .shell("mkdir keys/certs; cp keys/ca.crt keys/certs/")
        .ok();
    // Of what does not compress, so that no connection lasts for all of it.
    world
        .shell("mkdir tree; head -c 3000000 /dev/urandom >tree/noise; tar -C tree -cf t.tar .")
        .ok();
    world.coracle("import -q t.tar noise").ok();
    let name = "registry.example/a/it:1";
    let whole = Proxy::to(&registry.host, u64::MAX, false);
    world
        .coracle(&format!("push -q {certs} noise {name}"))
        .env("https_proxy", format!("http://me:secret@{}", whole.address))
        .ok();
    let asked = whole.asked();
    assert!(!asked.is_empty());
    for head in &asked {
        assert!(
            head.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("Basic bWU6c2VjcmV0"), "{head}");
    }
    world.coracle("rmi -fa").ok();
    let broken = Proxy::to(&registry.host, 700_000, false);
    world
        .coracle(&format!(
            "pull -q --retry 9 --retry-delay 1ms {certs} {name}"
        ))
        .env("HTTPS_PROXY", &broken.address)
        .ok();
    // Begun anew each time it would never have ended.
    let asked = broken.asked().len();
    assert!((5..9).contains(&asked), "{asked}");
    // Who refuses says so, and is not asked again.
    let refused = world
        .coracle(&format!(
            "pull -q --retry-delay 1ms {certs} forbidden.example/a/it:1"
        ))
        .env("HTTPS_PROXY", &broken.address)
        .fails(125);
    refused.says("proxyconnect tcp: proxy server responded 403");
    assert_eq!(refused.stderr().lines().count(), 1);
    assert_eq!(broken.asked().len(), asked + 1);
    let dead = world
        .coracle(&format!("pull -q {certs} {name}"))
        .env("HTTPS_PROXY", "127.0.0.1:1")
        .fails(125);
    dead.says("proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused");
    world
        .coracle(&format!("pull -q {certs} {name}"))
        .env("HTTPS_PROXY", "socks4://127.0.0.1:1")
        .fails(125)
        .says("a proxy by socks4:// is not supported by coracle yet");
    for (who, logged) in [("", ""), ("me:secret@", "me:secret ")] {
        let socks = Proxy::to(&registry.host, u64::MAX, false);
        world
            .coracle(&format!("pull -q {certs} {name}"))
            .env("HTTPS_PROXY", format!("socks5://{who}{}", socks.address))
            .ok();
        let wanted = format!("{logged}registry.example:443");
        assert!(!socks.asked().is_empty());
        assert!(
            socks.asked().iter().all(|it| *it == wanted),
            "{:?}",
            socks.asked()
        );
    }
    // What is near is asked without.
    world
        .coracle(&format!("pull -q {certs} {}/a/it:1", registry.host))
        .env("HTTPS_PROXY", "socks5://127.0.0.1:1")
        .ok();
    // Plain HTTP has a proxy of its own.
    let fake = Fake::new(Image::of(&[layer()]), |_, answer| answer);
    let plain = Proxy::to(&fake.host, u64::MAX, false);
    world
        .coracle(&format!("{PULL} -q registry.example/it:1"))
        .env("HTTPS_PROXY", "127.0.0.1:1")
        .env("HTTP_PROXY", &plain.address)
        .ok();
    let asked = plain.asked();
    assert!(
        asked[0].starts_with("CONNECT registry.example:80 "),
        "{asked:?}"
    );
}

#[test]
fn without_ranges_a_blob_begins_anew() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let (own, count) = (image.clone(), AtomicU64::new(0));
    let fake = Fake::new(image.clone(), move |asked, answer| {
        if !is_layer(asked, &own) {
            return answer;
        }
        let digest = asked.line.rsplit('/').next().unwrap();
        let mut answer = Answer::ok(own.blobs[digest].clone());
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => answer.cut = Some(9000),
            // Within what has been passed over already.
            1 => answer.cut = Some(5000),
            _ => {}
        }
        answer
    });
    world.coracle(&format!("{PULL} -q {}", fake.name())).ok();
    let asked = fake.asked();
    let asked: Vec<&Asked> = asked.iter().filter(|it| is_layer(it, &image)).collect();
    assert_eq!(asked.len(), 3);
    assert!(asked[2].headers["range"].starts_with("bytes=9000-"));
}

#[test]
fn who_is_silent_is_asked_again() {
    let image = Image::of(&[layer()]);
    let (own, count) = (image.clone(), AtomicU64::new(0));
    let fake = Fake::new(image.clone(), move |asked, mut answer| {
        if is_layer(asked, &own) && count.fetch_add(1, Ordering::Relaxed) < 2 {
            answer.stall = Some(7000);
        }
        answer
    });
    let client = |retry| {
        let options = Options {
            tls_verify: Some(false),
            retry,
            retry_delay: Some(Duration::from_millis(1)),
            silence: Duration::from_millis(50),
            ..Options::default()
        };
        let endpoint = Endpoint {
            registry: fake.host.clone(),
            path: "it".to_owned(),
            insecure: true,
        };
        let settings = Settings::read(&Overrides::default()).unwrap();
        Client::new(&settings, endpoint, &options, "pull").unwrap()
    };
    let manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    let digest: Digest = manifest["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let size = manifest["layers"][0]["size"].as_u64().unwrap();
    let read = |retry| {
        let (client, arrived) = (client(retry), AtomicU64::new(0));
        let mut bytes = Vec::new();
        let read = client.blob(&digest, size, &arrived).read_to_end(&mut bytes);
        (read.map_err(|error| error.to_string()), bytes)
    };
    let (read_once, _) = read(0);
    assert!(read_once.is_err());
    let (done, bytes) = read(2);
    done.unwrap();
    assert_eq!(Digest::of(&bytes), digest);
    let ranges = fake.asked().into_iter().filter(|it| is_layer(it, &image));
    let ranges: Vec<String> = ranges
        .filter_map(|it| it.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [format!("bytes=7000-{}", size - 1)]);
}

#[test]
fn what_never_ends_is_cut_off() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let is_config =
        |asked: &Asked, image: &Image| asked.line.contains("/blobs/") && !is_layer(asked, image);
    type Which = fn(&Asked, &Image) -> bool;
    let cases: [(Which, &str); 3] = [
        (
            |asked, _| asked.line.contains("/manifests/"),
            "it is larger than 4194304 bytes",
        ),
        (is_config, "it is larger than 4194304 bytes"),
        (is_layer, "the registry sends more than the "),
    ];
    for (which, words) in cases {
        let own = image.clone();
        let fake = Fake::new(image.clone(), move |asked, mut answer| {
            answer.endless = which(asked, &own);
            answer
        });
        let failed = world
            .coracle(&format!("{PULL} -q --retry 0 {}", fake.name()))
            .fails(125);
        failed.says(words);
        let said = failed.stderr();
        let lines = said.lines().filter(|line| !line.starts_with("Hint: "));
        assert_eq!(lines.count(), 1, "{said}");
        is_empty(&world);
    }
}

#[test]
fn a_server_in_trouble_is_asked_a_few_times() {
    let world = World::empty();
    for status in [429, 500, 503] {
        let fake = Fake::new(Image::of(&[layer()]), move |asked, answer| {
            match asked.line.contains("/manifests/") {
                true => Answer::status(status),
                false => answer,
            }
        });
        let failed = world
            .coracle(&format!("{PULL} -q --retry 2 {}", fake.name()))
            .fails(125);
        let said = failed.stderr();
        let lines = said.lines().filter(|line| !line.starts_with("Hint: "));
        assert_eq!(lines.count(), 1, "{said}");
        let asked = fake.asked();
        let asked = asked.iter().filter(|it| it.line.contains("/manifests/"));
        assert_eq!(asked.count(), 3, "{status}");
    }
}

/// Layers of noise, each of `size` bytes.
fn noise(count: u8, size: usize) -> Image {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut layers = Vec::new();
    for number in 0..count {
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.extend(seed.to_le_bytes());
        }
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let name = format!("noise-{number}");
        tar.append_data(&mut header, name, bytes.as_slice())
            .unwrap();
        layers.push(tar.into_inner().unwrap());
    }
    Image::of(&layers)
}

fn layers_asked(asked: &[Asked]) -> usize {
    asked
        .iter()
        .filter(|it| it.line.contains("/blobs/"))
        .count()
}

fn folders(world: &World, name: &str) -> usize {
    names(&world.data().join(name)).len()
}

#[test]
fn pulls_are_killed_at_any_moment() {
    let world = World::empty();
    let image = noise(8, 200_000);
    let fake = Fake::new(image, |_, answer| answer);
    let line = format!("{PULL} -q {}", fake.name());
    let mut random = fake
        .host
        .bytes()
        .fold(7_u64, |sum, it| sum.wrapping_mul(31) + u64::from(it));
    let (mut killed, mut reused) = (0, 0);
    for _ in 0..30 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let moment = (random >> 33) % 10;
        let before = fake.asked().len();
        let pull = world.coracle(&line).spawn();
        // So many requests in, and a little more.
        while ((fake.asked().len() - before) as u64) < moment && !world.processes().is_empty() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros((random >> 40) % 20_000));
        pull.signal(Signal::KILL);
        killed += u32::from(pull.wait().code == 137);
        world.wait_for_processes();
        // The next command finds no rubbish, and whole layers are fetched no more.
        world.coracle("ps -aq").ok();
        assert_eq!(folders(&world, "staging"), 0);
        let there = folders(&world, "layers");
        let before = fake.asked().len();
        world.coracle(&line).ok();
        let config = usize::from(folders(&world, "images") == 1);
        let asked = layers_asked(&fake.asked()[before..]);
        assert!(
            asked <= 8 - there + config,
            "{asked} blobs, {there} layers were there"
        );
        reused += u32::from(there > 0 && there < 8);
        assert_eq!(world.left(), Vec::<String>::new());
        world.coracle("rmi -fa").ok();
        is_empty(&world);
    }
    assert!(killed > 5, "{killed} of 30 were killed in time");
    let _ = writeln!(
        std::io::stderr(),
        "{killed} killed, {reused} left a part of the layers"
    );
}

#[test]
fn who_waits_for_a_layer_takes_over_when_its_fetcher_dies() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let (own, count) = (image.clone(), AtomicU64::new(0));
    let fake = Fake::new(image.clone(), move |asked, mut answer| {
        if is_layer(asked, &own) && count.fetch_add(1, Ordering::Relaxed) == 0 {
            answer.stall = Some(3000);
        }
        answer
    });
    let asked = |part: &str| {
        fake.asked()
            .iter()
            .filter(|it| it.line.contains(part))
            .count()
    };
    let layers = || {
        fake.asked()
            .iter()
            .filter(|it| is_layer(it, &image))
            .count()
    };
    let line = format!("{PULL} -q {}", fake.name());
    let first = world.coracle(&line).spawn();
    while layers() < 1 {
        std::thread::yield_now();
    }
    let second = world.coracle(&line).spawn();
    while asked("/manifests/") < 2 {
        std::thread::yield_now();
    }
    first.signal(Signal::KILL);
    assert_eq!(first.wait().code, 137);
    assert_eq!(second.wait().code, 0);
    assert_eq!(layers(), 2);
    world
        .coracle(&format!("run --rm --network=none {} true", fake.name()))
        .ok();
    // What a container leaves is deleted when nobody waits any more.
    world.wait_for_processes();
    assert_eq!(folders(&world, "staging"), 0);
}

#[test]
fn ctrl_c_leaves_nothing() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let own = image.clone();
    let fake = Fake::new(image, move |asked, mut answer| {
        if is_layer(asked, &own) {
            answer.stall = Some(3000);
        }
        answer
    });
    let line = format!(
        "stty -a >before; coracle {PULL} {}; echo code $?; stty -a >after",
        fake.name()
    );
    let mut terminal = world.shell(&format!("trap : INT; {line}")).terminal();
    terminal.shows("Copying blob ").shows("kB / ").types("\x03");
    terminal.shows("code 130");
    let (code, screen) = terminal.wait();
    assert_eq!(code, 0, "{screen}");
    world.shell("cmp before after").ok();
    assert_eq!(folders(&world, "staging"), 0);
    is_empty(&world);
}

#[test]
fn a_signal_while_an_image_comes_leaves_nothing() {
    let world = World::empty();
    let image = Image::of(&[layer()]);
    let (own, place) = (image.clone(), Arc::new(Mutex::new("")));
    let stalls = place.clone();
    let fake = Fake::new(image, move |asked, mut answer| {
        let what = match is_layer(asked, &own) {
            true => "layer",
            false if asked.line.contains("/blobs/") => "config",
            false if asked.line.contains("/manifests/") => "manifest",
            false => "",
        };
        if what == *stalls.lock().unwrap() {
            answer.stall = Some(answer.body.len() / 2);
        }
        answer
    });
    let name = fake.name();
    world.file("one/Containerfile", format!("FROM {name}\nRUN true\n"));
    world.file(
        "two/Containerfile",
        format!("FROM scratch AS a\nFROM {name} AS b\nRUN true\nFROM scratch\nCOPY --from={name} / /\nCOPY --from=b / /\n"),
    );
    let hosts = "--tls-verify=false";
    for (place_is, signal, line) in [
        ("manifest", Signal::INT, format!("{PULL} {name}")),
        ("config", Signal::TERM, format!("{PULL} -q {name}")),
        ("layer", Signal::TERM, format!("{PULL} {name}")),
        (
            "layer",
            Signal::HUP,
            format!("run --rm {hosts} {name} true"),
        ),
        ("layer", Signal::QUIT, format!("create {hosts} {name} true")),
        (
            "manifest",
            Signal::INT,
            format!("build {hosts} -t never one"),
        ),
        ("config", Signal::HUP, format!("build {hosts} -t never one")),
        ("layer", Signal::INT, format!("build {hosts} -t never one")),
        ("layer", Signal::TERM, format!("build {hosts} -t never two")),
        (
            "layer",
            Signal::INT,
            format!("build {hosts} --jobs 3 -t never two"),
        ),
        (
            "manifest",
            Signal::TERM,
            format!("build {hosts} --jobs 0 -t never two"),
        ),
    ] {
        *place.lock().unwrap() = place_is;
        let part = match place_is {
            "manifest" => "/manifests/",
            _ => "/blobs/",
        };
        let count = |all: &[Asked]| all.iter().filter(|it| it.line.contains(part)).count();
        let wanted = count(&fake.asked()) + 1 + usize::from(place_is == "layer");
        let running = world.coracle(&line).spawn();
        while count(&fake.asked()) < wanted {
            std::thread::yield_now();
        }
        running.signal(signal);
        let done = running.wait();
        assert_eq!(
            done.code,
            128 + signal.as_raw(),
            "{line}: {}",
            done.stderr()
        );
        assert!(
            !done.stderr().contains("Error"),
            "{line}: {}",
            done.stderr()
        );
        assert_eq!(folders(&world, "staging"), 0, "{line} {signal:?}");
        world.wait_for_processes();
        is_empty(&world);
    }
}

#[test]
fn a_disk_that_fills_while_pulling() {
    let world = World::empty();
    let fake = Fake::new(noise(3, 900_000), |_, answer| answer);
    let data = world.folder(".local/share");
    // One of the layers fits. All in one: the tmpfs is gone afterwards.
    let script = format!(
        "mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid
         mount -t tmpfs -o size=2m tmpfs {}
         code=0; coracle {PULL} -q {} || code=$?
         coracle images -q; ls ~/.local/share/coracle/staging ~/.local/share/coracle/layers
         exit $code",
        data.display(),
        fake.name()
    );
    let done = world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
        .fails(125);
    done.says("o space left on device");
    let left = Path::new(&done.stdout()).display().to_string();
    assert!(!left.lines().any(|line| line.len() == 64), "{left}");
}

#[test]
fn a_push_of_what_is_there_uploads_nothing() {
    let world = World::new();
    needs!(world, Registry);
    let registry = Registry::start(&world);
    let tap = Proxy::to(&registry.host, u64::MAX, true);
    let push = format!("push -q --tls-verify=false IMAGE {}/a/it:1", tap.address);
    world.coracle(&push).ok();
    let first = tap.requests();
    assert!(first.iter().any(|it| it.starts_with("POST ")), "{first:?}");
    world.coracle(&push).ok();
    let again = tap.requests();
    let again = &again[first.len()..];
    assert!(
        again
            .iter()
            .all(|it| it.starts_with("HEAD ") || it.contains("/manifests/")),
        "{again:?}"
    );
    assert_eq!(again.len(), 3, "{again:?}");
}
