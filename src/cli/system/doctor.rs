use serde::Serialize;

use crate::cli::{Command, Example, Session};
use crate::doctor::{self, Finding, Verdict};
use crate::error::{Error, Result};
use crate::output::value::to_value;
use crate::output::{Listing, Output};

/// Check whether containers can run here, and say what to mend
///
/// Looks at all that containers need of this machine: the kernel, subordinate ids,
/// newuidmap, the folders that files go to and the room there, user namespaces,
/// overlays, pasta, cgroups. What can only be known by trying is tried. Each line
/// says how it stands (`ok`, `warning`, `failure`) and what was found; beneath a
/// warning or failure stands what to do, to the letter. A warning means that
/// something works less well.
///
/// The exit code is 0 when containers can run, 1 if anything is a failure.
#[derive(clap::Args)]
struct Args {
    /// Format the output with a Go template, or `json`
    ///
    /// The fields are .Check, .Verdict, .Found and .Mend.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,

    /// Do not print headings
    #[arg(short, long)]
    noheading: bool,

    #[arg(hide = true)]
    rest: Vec<String>,
}

/// It must answer where no store can be.
pub const COMMAND: Command = Command {
    names: &["doctor", "system doctor"],
    define: || <Args as clap::Args>::augment_args(clap::Command::new("")),
    run: |matches, session: &Session| {
        let args = <Args as clap::FromArgMatches>::from_arg_matches(matches)
            .map_err(|error| Error::usage(error.to_string()))?;
        run(&args, session)
    },
    examples: &[
        Example {
            line: "coracle doctor",
            does: "Show how everything stands.",
        },
        Example {
            line: "coracle doctor --format '{{.Verdict}} {{.Check}}'",
            does: "Show the verdicts alone.",
        },
    ],
};

#[derive(Serialize)]
#[serde(rename = "doctor.Finding", rename_all = "PascalCase")]
struct Row {
    check: String,
    verdict: &'static str,
    found: String,
    mend: String,
}

const HEADERS: &[(&str, &str)] = &[
    ("Check", "CHECK"),
    ("Verdict", "VERDICT"),
    ("Found", "FOUND"),
    ("Mend", "MEND"),
];

fn run(args: &Args, session: &Session) -> Result<u8> {
    if !args.rest.is_empty() {
        return Err(Error::usage("`coracle doctor` takes no arguments"));
    }
    let settings = session.settings()?;
    let found = doctor::examine(&settings, &session.engine(), session.thread());
    let fails = found.iter().any(|it| it.verdict == Verdict::Failure);
    let mut output = session.output();
    match &args.format {
        None => plain(&mut output, &found),
        Some(format) => {
            let listing = Listing {
                command: "doctor",
                columns: "",
                headers: HEADERS,
                format: Some(format),
                heading: !args.noheading,
            };
            let rows: Result<Vec<_>> = found.into_iter().map(|it| to_value(&row(it))).collect();
            listing.print_values(&mut output, rows?)?;
        }
    }
    Ok(fails.into())
}

fn row(it: Finding) -> Row {
    Row {
        check: it.check,
        verdict: it.verdict.word(),
        found: it.found,
        mend: it.mend,
    }
}

fn plain(output: &mut Output, found: &[Finding]) {
    let widest = found.iter().map(|it| it.check.len()).max().unwrap_or(0);
    for it in found {
        let verdict = it.verdict.word();
        output.line(format_args!(
            "{verdict:<9}{:<widest$}  {}",
            it.check, it.found
        ));
        if !it.mend.is_empty() {
            output.line(format_args!("{:9}{}", "", it.mend));
        }
    }
}
