//! A build at work: stages beside each other, on terminals, with files from elsewhere, and
//! when things go wrong. What a build comes to is in `build`.

use rustix::process::Signal;

use crate::build::{Site, files};
use crate::world::World;

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
    assert_eq!(site.steps(&same, flags), "cccc");
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
    let text = format!(
        "{BASE}\nRUN mkfifo /tmp/p; echo one; echo two; sleep 0.3; rm /tmp/p\nRUN echo quick\n"
    );
    site.file("Containerfile", &text);
    let shown = |flags: &str| {
        let line = format!("TERM=xterm coracle build {flags} c");
        let (code, screen) = site.world.shell(&line).terminal().wait();
        (code, screen.replace("\r\n", "\n"))
    };
    let (code, screen) = shown("-t it");
    assert_eq!(code, 0, "{screen}");
    // Drawn while it was at work: its time, and its last lines.
    assert!(screen.contains("\x1b[2mtwo\x1b[0m"), "{screen:?}");
    assert!(screen.contains("\x1b[J"), "{screen:?}");
    let done = screen
        .lines()
        .filter(|line| line.contains("STEP 3/3: RUN echo quick"));
    assert!(done.last().unwrap().trim_end().ends_with('s'), "{screen:?}");
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
    let piped = site
        .world
        .shell("TERM=xterm coracle build c 2>&1 | cat")
        .stdout();
    assert!(!piped.contains('\x1b'), "{piped:?}");
    site.is_clean();
}
