//! A build at work: stages beside each other, on terminals, with files from elsewhere, and
//! when things go wrong. What a build comes to is in `build`.

use rustix::process::Signal;

use crate::build::{Site, files};
use crate::needs;
use crate::world::World;
use crate::world::registry::{Answer, Fake, Image, Registry};

const BASE: &str = "FROM localhost/test";

#[test]
fn stages_are_built_side_by_side() {
    let site = Site::new();
    // Each can end only while the other is there.
    let text = format!(
        "{BASE} AS a\nRUN echo first; echo >/pipes/x; cat /pipes/y; echo a > /a\n\
         {BASE} AS b\nRUN echo second; cat /pipes/x; echo >/pipes/y; echo b > /b\n\
         {BASE} AS unused\nRUN exit 9\n\
         {BASE} AS c\nCOPY --from=a /a /c\n\
         {BASE}\nARG X\nCOPY --from=b /b /b\nCOPY --from=c /c /c\nRUN cat /b /c\n"
    );
    site.world.shell("mkdir pipes; mkfifo pipes/x pipes/y").ok();
    let flags = "-v ../pipes:/pipes --build-arg X=1 --build-arg Y=2 -t it";
    let done = site.build(&text, &format!("{flags} --jobs 2"));
    assert_eq!(done.code, 0, "{}", done.stderr());
    let out = done.stdout();
    for line in [
        "[1/5] STEP 1/2: FROM localhost/test AS a",
        "[2/5] STEP 2/2: RUN echo second; cat /pipes/x; echo >/pipes/y; echo b > /b",
        "first",
        "second",
        "[5/5] STEP 5/5: RUN cat /b /c",
        "b",
        "a",
        "[5/5] COMMIT it",
        "[Warning] one or more build args were not consumed: [Y]",
        "Successfully tagged localhost/it:latest",
    ] {
        assert!(out.lines().any(|it| it == line), "{line}: {out}");
    }
    assert!(!out.contains("unused"), "{out}");
    let id = out.lines().last().unwrap();
    // It is the same image one stage after the other, and what each stage did is known.
    for jobs in ["1", "2", "0"] {
        let again = site
            .build(&text, &format!("{flags} --jobs {jobs}"))
            .stdout();
        assert_eq!(again.matches("--> Using cache").count(), 7, "{again}");
        assert_eq!(again.lines().last().unwrap(), id);
    }
    // Stages that come to the same.
    let same = format!(
        "{BASE} AS a\nRUN echo 1 > /f\n{BASE} AS b\nRUN  echo 1 > /f\n{BASE}\nCOPY --from=a /f /a\nCOPY --from=b /f /b\n"
    );
    let flags = "--jobs 0 --timestamp 0 -t same";
    assert_eq!(site.build(&same, flags).code, 0);
    assert_eq!(site.steps(&same, &flags[9..]), "cccc");
    site.build(&same, "--jobs=-1")
        .says("building: invalid value for jobs.  It must be a positive integer");
    site.world.shell("rm -r pipes").ok();
    site.is_clean();
}

#[test]
fn a_stage_that_fails_ends_the_others() {
    let site = Site::new();
    let text = format!(
        "{BASE} AS a\nRUN echo kept > /k\nRUN echo >/pipes/x; sleep 1000\n\
         {BASE} AS b\nRUN cat /pipes/x; echo is no line | tr -d '\\n'; exit 7\n\
         {BASE}\nCOPY --from=a /k /\nCOPY --from=b /k /\n"
    );
    site.world.shell("mkdir pipes; mkfifo pipes/x").ok();
    let flags = "-v ../pipes:/pipes --jobs 2 -t never";
    let done = site.build(&text, flags);
    assert_eq!(done.code, 7, "{}", done.stderr());
    done.says("while running runtime: exit status 7");
    assert!(
        done.stdout().contains("\nis no line\n"),
        "{}",
        done.stdout()
    );
    assert_eq!(site.world.coracle("image exists never").run().code, 1);
    site.world.shell("rm -r pipes").ok();
    // What was done before is known.
    let kept = format!("{BASE}\nRUN echo kept > /k\n");
    site.world.shell("mkdir pipes").ok();
    assert_eq!(site.steps(&kept, "-v ../pipes:/pipes"), "c");
    site.world.shell("rm -r pipes").ok();
    site.is_clean();
}

#[test]
fn a_terminal_sees_what_is_at_work() {
    let site = Site::new();
    let text =
        format!("{BASE}\nRUN echo one; echo two; cat /pipes/go; echo last\nRUN echo quick\n");
    site.world.shell("mkdir pipes; mkfifo pipes/go").ok();
    site.file("Containerfile", &text);
    let shown = |flags: &str| {
        let line = format!("TERM=xterm coracle build -v ./pipes:/pipes {flags} c");
        let (code, screen) = site.world.shell(&line).terminal().wait();
        (code, screen.replace("\r\n", "\n"))
    };
    // Drawn while it is at work: its time, and its last lines.
    let line = "TERM=xterm coracle build -v ./pipes:/pipes -t it c";
    let mut terminal = site.world.shell(line).terminal();
    terminal.shows("\x1b[2mtwo\x1b[0m");
    site.world.shell("echo > pipes/go").ok();
    let (code, screen) = terminal.wait();
    let screen = screen.replace("\r\n", "\n");
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("\x1b[J"), "{screen:?}");
    let mut done = screen
        .lines()
        .filter(|line| line.contains("STEP 3/3: RUN echo quick"));
    assert!(
        done.next_back().unwrap().trim_end().ends_with('s'),
        "{screen:?}"
    );
    assert!(screen.contains("Successfully tagged localhost/it:latest"));
    let (_, screen) = shown("-t it");
    assert_eq!(screen.matches("  CACHED").count(), 2, "{screen:?}");
    // What fails shows all that it printed, and its code is ours.
    site.file(
        "Containerfile",
        format!("{BASE}\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; exit 4\n").as_str(),
    );
    let (code, screen) = shown("");
    assert_eq!(code, 4);
    assert!(screen.contains("line 1\nline 2\nline 3\n"), "{screen:?}");
    // Of all that a pipe, or who wants the id alone, sees nothing.
    site.file("Containerfile", &text);
    let (_, screen) = shown("-q");
    assert!(
        !screen.contains('\x1b') && screen.lines().count() == 1,
        "{screen:?}"
    );
    let piped = "TERM=xterm coracle build -v ./pipes:/pipes c 2>&1 | cat";
    let piped = site.world.shell(piped).stdout();
    assert!(!piped.contains('\x1b'), "{piped:?}");
    site.world.shell("rm -r pipes").ok();
    site.is_clean();
}

/// A tar of one file.
fn archive(name: &str, text: &str) -> Vec<u8> {
    archive_of(&[(name, text)])
}

fn archive_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A tar, compressed by xz, of a file `f` that has `text`.
const XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Af/AD1dADMAM1AYaImDAdzibiEFVzU4Vk1W7UqbV7y1tSRjkZDMj3r6h6/c3iN6enEfIwrFtvieYptyMvynmpgrAAAAAAAADWOWbTviXiIAAVmAEAAAAO9qKwmxxGf7AgAAAAAEWVo=";

/// A server of files, in place of a registry's.
fn server() -> Fake {
    let context = archive_of(&[
        (
            "Containerfile",
            "FROM localhost/test\nCOPY x /\nRUN cat /x\n",
        ),
        ("x", "of the archive\n"),
    ]);
    let packed = archive("in", "packed\n");
    let busy = std::sync::atomic::AtomicUsize::new(0);
    Fake::new(Image::of(&[]), move |asked, _| {
        let path = asked.line.split(' ').nth(1).unwrap();
        match path.split('?').next().unwrap() {
            "/d/a.txt" => {
                Answer::ok("content\n").header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            }
            "/undated" => Answer::ok("undated\n"),
            "/t.tar" => Answer::ok(packed.clone()),
            "/context.tar" => Answer::ok(context.clone()),
            "/Containerfile" => Answer::ok("FROM localhost/test\nRUN echo by itself\n"),
            "/moved" => Answer::status(302).header("location", "/d/a.txt"),
            "/busy" if busy.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => {
                Answer::status(503)
            }
            "/busy" => Answer::ok("at last\n"),
            _ => Answer::status(404),
        }
    })
}

#[test]
fn files_and_contexts_come_by_url() {
    let site = Site::new();
    let server = server();
    let url = format!("http://{}", server.host);
    let sum = coracle::id::Digest::of(b"content\n");
    let text = format!(
        "{BASE}\nADD {url}/d/a.txt?x=1 /d/\nADD {url}/moved /named\nADD --chown=5:6 --chmod=644 {url}/undated {url}/t.tar /two/\n\
         ADD --checksum={sum} --unpack=false {url}/d/a.txt /sum\nADD --unpack {url}/t.tar /un/\nADD {url}/busy /\n\
         RUN stat -c '%n %a %u:%g %Y' /d/a.txt /named /two/undated /two/t.tar /un/in /busy; cat /sum\n"
    );
    let done = site.build(&text, "--retry-delay 1ms -t it");
    assert_eq!(done.code, 0, "{}", done.stderr());
    for line in [
        "/d/a.txt 600 0:0 1445412480",
        "/named 600 0:0 1445412480",
        "/two/undated 644 5:6 0",
        "/two/t.tar 644 5:6 0",
        "/un/in 644 0:0 0",
        "/busy 600 0:0 0",
        "content",
    ] {
        assert!(
            done.stdout().lines().any(|it| it == line),
            "{line}: {}",
            done.stdout()
        );
    }
    // What the server says now counts, not what it is called.
    assert_eq!(site.steps(&text, "--retry-delay 1ms"), "ccccccc");
    for (line, words) in [
        (format!("ADD {url}/nope /"), "invalid response status 404"),
        (
            format!("ADD {url}/d/ /"),
            "it does not end in the name of a file",
        ),
        (
            format!("ADD --checksum=sha256:{:064} {url}/d/a.txt /", 0),
            "unexpected response digest for",
        ),
        (
            format!("ADD --checksum=no {url}/d/a.txt /"),
            "invalid checksum digest format",
        ),
        (
            format!("COPY {url}/d/a.txt /"),
            "source can't be a URL for COPY",
        ),
        (format!("ADD {url}/repo.git /"), "ADD of the git repository"),
        (
            "ADD https://127.0.0.1:1/x /".to_owned(),
            "connection refused",
        ),
    ] {
        let done = site.build(&format!("{BASE}\n{line}\n"), "--retry 0");
        assert_eq!(done.code, 125, "{line}");
        done.says(words);
    }
    let world = &site.world;
    let out = world.coracle(&format!("build {url}/context.tar")).stdout();
    assert!(out.contains("\nof the archive\n"), "{out}");
    for line in [
        "build --no-cache URL/Containerfile",
        "build --no-cache -f URL/Containerfile c",
    ] {
        let out = world.coracle(&line.replace("URL", &url)).stdout();
        assert!(out.contains("\nby itself\n"), "{out}");
    }
    world
        .coracle(&format!("build {url}/nope"))
        .fails(125)
        .says("prepping temporary context directory: invalid response status 404");
    world
        .coracle(&format!("build {url}/a.git"))
        .fails(125)
        .says("is not supported by coracle yet");
    let named = format!("{BASE}\nCOPY --from=other x /\nRUN cat /x\n");
    let flags = format!("--build-context other={url}/context.tar");
    let out = site.build(&named, &format!("{flags} --no-cache")).stdout();
    assert!(out.contains("\nof the archive\n"), "{out}");
    assert_eq!(site.steps(&named, &flags), "cc");
    site.is_clean();
}

#[test]
fn archives_are_unpacked_however_they_are_compressed() {
    let site = Site::new();
    let world = &site.world;
    let tar = archive("f", "text\n");
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    std::io::Write::write_all(&mut bzip2, &tar).unwrap();
    world.file("c/b", bzip2.finish().unwrap());
    world.file("c/z", zstd::stream::encode_all(&tar[..], 1).unwrap());
    let xz = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, XZ).unwrap();
    world.file("c/x", &xz);
    world.file("c/g", &tar);
    let text = format!("{BASE}\nADD b /b/\nADD x /x/\nADD z /z/\nADD g /g/\nRUN cat /?/f\n");
    let out = site.build(&text, "").stdout();
    assert!(out.contains("\ntext\ntext\ntext\ntext\n"), "{out}");
    // A context may be one too.
    world.file("t.xz", xz);
    site.file("it", &format!("{BASE}\nCOPY f /\nRUN cat /f\n"));
    let out = world.shell("coracle build -f c/it - < t.xz").stdout();
    assert!(out.contains("\ntext\n"), "{out}");
    site.is_clean();
}

#[test]
fn steps_come_from_a_registry_and_go_there() {
    let site = Site::new();
    let world = &site.world;
    needs!(world, Registry);
    let registry = Registry::start(world);
    let place = format!("{}/cache/it", registry.host);
    let text = format!(
        "{BASE} AS one\nENV A=1\nRUN echo $A > /a; mkdir /m\n{BASE}\nARG B=2\nCOPY x /x\nCOPY --from=one /a /new/a\nRUN echo $B; cat /x /new/a\n"
    );
    site.file("x", "1\n");
    let to = format!("--tls-verify=false --cache-to {place}");
    let from = format!("--tls-verify=false --cache-from {place}");
    let first = site.build(&text, &format!("{to} {from} -t it"));
    assert_eq!(first.code, 0, "{}", first.stderr());
    let out = first.stdout();
    assert_eq!(
        out.matches(&format!("--> Pushing cache [{place}]:"))
            .count(),
        6,
        "{out}"
    );
    assert!(!out.contains("Using cache"), "{out}");
    let id = out.lines().last().unwrap().to_owned();
    // Nothing but the image itself is there.
    let images = world.coracle("images -a --format {{.Repository}}").stdout();
    assert!(!images.contains("cache/it"), "{images}");
    // Somebody else, who has nothing yet, and whose folder is another.
    let other = Site::new();
    other.file("x", "1\n");
    for jobs in ["1", "2"] {
        other.world.coracle("builder prune -af").ok();
        let said = other.build(&text, &format!("{from} --jobs {jobs}"));
        assert_eq!(said.code, 0, "{}", said.stderr());
        let out = said.stdout();
        assert_eq!(
            out.matches(&format!("--> Cache pulled from remote {place}:"))
                .count(),
            6,
            "{out}"
        );
        assert_eq!(out.lines().last().unwrap(), id);
        other.world.coracle("rmi").arg(&id).ok();
    }
    let images = other
        .world
        .coracle("images -a --format {{.Repository}}")
        .stdout();
    assert!(
        !images.contains("cache/it") && !images.contains("none"),
        "{images}"
    );
    // What it has is another step: of another file, of another argument.
    other.file("x", "2\n");
    other.world.coracle("builder prune -af").ok();
    let out = other.build(&text, &from).stdout();
    assert_eq!(out.matches("Cache pulled").count(), 3, "{out}");
    assert!(out.contains("\n2\n2\n1\n"), "{out}");
    // What is known here need not be fetched, and is sent all the same.
    let out = other.build(&text, &to).stdout();
    assert_eq!(out.matches("Pushing cache").count(), 6, "{out}");
    // Nobody is there.
    let gone = "--retry 0 --no-cache --cache-to 127.0.0.1:1/x/y -t never";
    let done = other.build(&text, gone);
    assert_eq!(done.code, 125);
    done.says("failed pushing cache to 127.0.0.1:1/x/y");
    let done = other.build(
        &text.replace("B=2", "B=3"),
        "--retry 0 --cache-from 127.0.0.1:1/x/y",
    );
    assert_eq!(done.code, 0);
    assert_eq!(
        done.stderr()
            .matches("--cache-from 127.0.0.1:1/x/y")
            .count(),
        1
    );
    other
        .build(&text, "--cache-from localhost/a:1")
        .says("repository must contain neither a tag nor digest");
    site.is_clean();
    other.is_clean();
}

/// A line of shell where the caller has no other ids than their own, and the store lies on
/// a disk of that size.
fn on_small_disk(world: &World, size: &str, line: &str) -> crate::world::Done {
    let script = format!(
        "mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid
         mkdir -p .local/share/coracle; mount -t tmpfs -o size={size} tmpfs .local/share/coracle
         coracle load -q -i {} >/dev/null; {line}",
        crate::world::archive().display()
    );
    world
        .shell("exec unshare --user --map-current-user --mount --keep-caps bash -ec \"$0\"")
        .arg(script)
        .run()
}

#[test]
fn a_full_disk_is_one_error_and_leaves_no_half() {
    let world = World::empty();
    needs!(world, Subuids);
    world
        .shell("mkdir c; head -c 60000000 /dev/zero > c/large; echo small > c/small")
        .ok();
    world.file(
        "c/copy",
        format!("{BASE}\nRUN echo kept > /k\nCOPY large /\n"),
    );
    world.file(
        "c/run",
        format!("{BASE}\nRUN echo kept > /k\nRUN head -c 60000000 /dev/zero > /large\n"),
    );
    world.file(
        "c/fits",
        format!("{BASE}\nRUN echo kept > /k\nCOPY small /\nRUN cat /small\n"),
    );
    let script = "
        for file in copy run; do
            for jobs in 1 2; do
                ! coracle build --jobs $jobs -t never -f c/$file c >$file 2>&1
                grep -qi 'no space left\\|exit status 1' $file || { cat $file; exit 1; }
            done
        done
        ! coracle image exists never
        coracle build -t it -f c/fits c
        coracle ps -aq
        coracle system check";
    let done = on_small_disk(&world, "50m", script);
    assert_eq!(done.code, 0, "{}{}", done.stdout(), done.stderr());
    let out = done.stdout();
    assert!(
        out.starts_with(
            "STEP 1/4: FROM localhost/test\nSTEP 2/4: RUN echo kept > /k\n--> Using cache"
        ),
        "{out}"
    );
    assert!(out.contains("\nsmall\n"), "{out}");
}

#[test]
fn who_has_one_id_builds_too() {
    let world = World::empty();
    needs!(world, Subuids);
    world.shell("mkdir c; echo 1 > c/f").ok();
    world.file(
        "c/Containerfile",
        format!("{BASE} AS a\nRUN id -u; mkdir /d; echo 1 > /d/f; chmod 600 /d/f\n{BASE}\nCOPY --chown=1000:1000 --chmod=640 f /owned\nCOPY --from=a /d /d\nRUN cat /owned /d/f\n"),
    );
    let script = "
        coracle build --jobs 2 -t it c
        coracle build -t it c | grep -c 'Using cache'
        coracle save -q -o it.tar it
        mkdir x; tar xf it.tar -C x
        for layer in x/*.tar; do tar tvf $layer --numeric-owner 2>/dev/null | grep -E ' owned| d/f' || true; done";
    let done = on_small_disk(&world, "200m", script);
    assert_eq!(done.code, 0, "{}{}", done.stdout(), done.stderr());
    let out = done.stdout();
    assert!(
        out.contains("\n0\n") && out.contains("\n1\n1\n") && out.contains("\n4\n"),
        "{out}"
    );
    // Whose it is to be is what others get.
    assert!(
        out.lines()
            .any(|it| it.starts_with("-rw-r-----") && it.contains("1000/1000")),
        "{out}"
    );
    assert!(
        out.lines()
            .any(|it| it.starts_with("-rw-------") && it.contains(" 0/0 ") && it.ends_with("d/f")),
        "{out}"
    );
}

#[test]
fn the_same_is_built_by_several_at_once() {
    let site = Site::new();
    site.file("f", "1\n");
    site.file(
        "Containerfile",
        &format!("{BASE} AS a\nRUN mkdir /d; echo 1 > /d/f\n{BASE}\nRUN --mount=type=cache,target=/c echo x >> /c/x\nCOPY f /f\nCOPY --from=a /d /d\nRUN rm -rf /home; cat /f /d/f\n"),
    );
    let script = "pids=; for at in 1 2 3 4; do coracle build --jobs 2 -q -t same$at -t same c >id$at & pids=\"$pids $!\"; done
        for pid in $pids; do wait $pid || exit 1; done; cat id?";
    let out = site.world.shell(script).stdout();
    assert_eq!(out.lines().count(), 4, "{out}");
    let first = files(&site.world, "localhost/same1");
    for at in 2..=4 {
        assert_eq!(files(&site.world, &format!("localhost/same{at}")), first);
    }
    // Any of them may have been the last to say what steps came to.
    let known = site
        .world
        .shell("coracle build c | grep -c 'Using cache'")
        .stdout();
    assert_eq!(known, "5");
    site.world.coracle("system check").ok();
    site.is_clean();
}

#[test]
fn a_build_that_is_killed_ends_its_steps() {
    let site = Site::new();
    let text = format!(
        "{BASE} AS a\nRUN echo first; sleep 1000\n{BASE} AS b\nRUN echo second; sleep 1000\n{BASE}\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n"
    );
    site.file("Containerfile", &text);
    for flags in ["--jobs 1", "--jobs 2"] {
        for signal in [Signal::KILL, Signal::INT, Signal::TERM, Signal::HUP] {
            let running = site
                .world
                .coracle(&format!("build {flags} -t never c"))
                .spawn();
            running.prints("first");
            if flags == "--jobs 2" {
                running.prints("second");
            }
            running.signal(signal);
            let done = running.wait();
            assert_eq!(done.code, 128 + signal.as_raw(), "{}", done.stderr());
            // By themselves: nobody kills them.
            site.world.wait_for_processes();
            assert_eq!(site.world.coracle("image exists never").run().code, 1);
            site.world.coracle("ps -a").ok();
            site.is_clean();
        }
    }
    // A step that is killed is one that failed.
    let killed = site.build(
        &format!("{BASE}\nRUN sh -c 'kill -9 $$'; exit $?\n"),
        "-t never",
    );
    assert_eq!(killed.code, 137);
    killed.says("while running runtime: exit status 137");
    site.is_clean();
}

#[test]
fn a_context_of_thousands_of_files() {
    let site = Site::new();
    let text = format!("{BASE}\nCOPY . /c/\nRUN find /c -type f | wc -l\nCOPY --from=0 /bin /b\n")
        .replace("COPY --from=0 /bin /b\n", "");
    site.world
        .shell("mkdir c/many; cd c/many; for i in $(seq 40); do mkdir d$i; for j in $(seq 50); do echo $i $j > d$i/f$j; done; done")
        .ok();
    // Fewer may be open than there are.
    site.file("Containerfile", &text);
    let out = site
        .world
        .shell("ulimit -n 256; coracle build -t it c")
        .stdout();
    assert!(out.contains("\n2001\n"), "{out}");
    assert_eq!(site.steps(&text, "-t it"), "cc");
    site.file("many/d7/f7", "another\n");
    let said = site.build(&text, "--why").stdout();
    assert!(said.contains("files: many/d7/f7"), "{said}");
    site.is_clean();
}

/// Every option of podman-build(1) (tests/build-options.txt) is done, or refused by its
/// name; what stands in place of `done` says why it cannot end well here.
#[test]
fn every_option_is_done_or_refused_by_its_name() {
    let site = Site::new();
    let world = &site.world;
    world.file("args", "A=1\n");
    world.file("auth.json", "{}");
    site.file("Containerfile", &format!("{BASE} AS only\nRUN true\n"));
    let text =
        std::fs::read_to_string(crate::world::source().join("tests/build-options.txt")).unwrap();
    let row = coracle::cli::commands().find(|it| it.names.contains(&"build"));
    let definition = (row.unwrap().define)();
    let mut known: Vec<&str> = definition
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .collect();
    let mut wrong = Vec::new();
    for line in text
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
    {
        let (option, state) = line.rsplit_once(' ').unwrap();
        let option = option.trim();
        let name = option.split('=').next().unwrap();
        known.retain(|it| Some(*it) != name.strip_prefix("--"));
        let done = world
            .coracle("build --retry 0")
            .arg(option)
            .args(["-t", "it", "c"])
            .run();
        let (code, words) = match state {
            "done" => (0, String::new()),
            "refused" => (125, "is not supported by coracle yet".to_owned()),
            "pushes" => (125, "failed pushing cache to localhost:1/x".to_owned()),
            "epoch" => (
                125,
                "--rewrite-timestamp needs --source-date-epoch".to_owned(),
            ),
            "agent" => (125, "--ssh: open /nosuch".to_owned()),
            other => panic!("{other}"),
        };
        let said = done.stderr();
        let names_it = state != "refused" || said.starts_with(&format!("Error: {name}"));
        if done.code != code || !said.contains(&words) || !names_it {
            wrong.push(format!("{line}: {} {said}", done.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Two that Podman hides, and our own.
    known.sort_unstable();
    assert_eq!(known, ["pull-always", "signature-policy", "why"]);
    world.coracle("rmi -af").ok();
    world.shell("rm -rf out id args auth.json").ok();
    site.is_clean();
}
