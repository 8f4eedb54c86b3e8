use super::named;
use crate::cli::Example;
use crate::cli::dry_run::{DryRun, containers_would_go, volumes_would_go};
use crate::container::remove::{self, Removal};
use crate::container::{self, Container};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::{ContainerId, Name};
use crate::output::{Output, Waiting};
use crate::volume::{self, Removed, Snapshot};

/// Remove one or more volumes
///
/// A volume that a container uses is kept: the command says which one does, and
/// ends with 2. It ends with 1 if there is no such volume. Its snapshots go with it;
/// VOLUME@SNAPSHOT removes a snapshot alone.
#[derive(clap::Args)]
pub struct Args {
    /// Remove all volumes
    #[arg(short, long)]
    all: bool,

    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Remove the containers that use a volume too; a missing volume is no error
    #[arg(short, long)]
    force: bool,

    /// Seconds to wait for such a container before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,

    #[arg(value_name = "VOLUME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[
    Example {
        line: "coracle volume rm model_output",
        does: "Remove a volume and its files.",
    },
    Example {
        line: "coracle volume rm --all --force",
        does: "Remove every volume, and the containers that use them.",
    },
];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    container::sweep(engine)?;
    let storage = &engine.storage;
    if args.all != args.names.is_empty() {
        return Err(Error::usage("choose either one or more volumes or all"));
    }
    if args.time.is_some() && !args.force {
        return Err(Error::usage(
            "--force option must be specified to use the --time option",
        ));
    }
    let _waiting = Waiting::new(engine.thread, "removing volumes");
    let mut names: Vec<Name> = Vec::new();
    let mut errors = Vec::new();
    if args.all {
        names.extend(volume::list(storage)?.into_iter().map(|it| it.name));
    }
    let mut snapshots = Vec::new();
    for text in &args.names {
        if text.contains('@') {
            match named::find(storage, text) {
                Ok((volume, Some(snapshot))) => snapshots.push((volume.name, snapshot)),
                Ok((_, None)) => {}
                Err(error) if args.force && error.kind() == Kind::NotFound => {}
                Err(error) => errors.push(error),
            }
            continue;
        }
        match volume::find(storage, text) {
            // Podman: it is gone by then.
            Ok(volume) if names.contains(&volume.name) => {
                if !args.force {
                    errors.push(volume::no_such(text));
                }
            }
            Ok(volume) => names.push(volume.name),
            Err(error) if args.force && error.kind() == Kind::NotFound => {}
            Err(error) => errors.push(error),
        }
    }
    if args.dry_run {
        errors.extend(would_go(engine, output, &names, &snapshots, args.force)?);
        return Ok(fail(output, &errors));
    }
    if args.force {
        remove_users(engine, &names, args.time)?;
    }
    let users = |name: &Name| container::users_of_volume(storage, name);
    let results = volume::remove(engine, &names, users)?;
    for (name, result) in names.iter().zip(results) {
        match result {
            Removed::Gone => output.line(name),
            Removed::Missing if args.all || args.force => {}
            Removed::Missing => errors.push(volume::no_such(name.as_str())),
            Removed::InUse(users) => errors.push(in_use(name, &users)),
        }
    }
    for (volume, snapshot) in &snapshots {
        match volume::remove_snapshot(engine, volume, &snapshot.name) {
            Ok(()) => output.line(format_args!("{volume}@{}", snapshot.name)),
            // It went with its volume, or another took it away.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => errors.push(error),
        }
    }
    Ok(fail(output, &errors))
}

/// Shows the errors; the last decides the exit code.
fn fail(output: &mut Output, errors: &[Error]) -> u8 {
    for error in errors {
        output.error(error);
    }
    errors.last().map_or(0, |error| match error.kind() {
        Kind::NotFound => 1,
        Kind::InUse => 2,
        _ => error.exit_code(),
    })
}

/// Prints what would go, and gives the reasons why the rest would not.
fn would_go(
    engine: &Engine,
    output: &mut Output,
    names: &[Name],
    snapshots: &[(Name, Snapshot)],
    force: bool,
) -> Result<Vec<Error>> {
    let storage = &engine.storage;
    let mut errors = Vec::new();
    let mut going = Vec::new();
    let mut containers: Vec<Container> = Vec::new();
    for name in names {
        let users = container::users_of_volume(storage, name)?;
        if !users.is_empty() && !force {
            errors.push(in_use(name, &users));
            continue;
        }
        for id in users {
            if containers.iter().all(|it| it.record.id != id) {
                containers.extend(container::load(storage, &id)?);
            }
        }
        going.push(name.clone());
    }
    let mut all = DryRun::default();
    containers_would_go(engine, &mut all, &containers)?;
    volumes_would_go(engine, &mut all, &going)?;
    for (volume, snapshot) in snapshots {
        let sizes = volume::snapshot_sizes(engine, volume, std::slice::from_ref(snapshot))?;
        let name = format!("{volume}@{}", snapshot.name);
        all.all("snapshot", [name], sizes);
    }
    all.print(output);
    Ok(errors)
}

/// Removes the containers that use the volumes.
fn remove_users(engine: &Engine, names: &[Name], timeout: Option<i64>) -> Result<()> {
    // Podman: a negative timeout waits for ever.
    let timeout = timeout.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
    for name in names {
        for id in container::users_of_volume(&engine.storage, name)? {
            let how = Removal {
                force: true,
                timeout,
                volumes: false,
            };
            if let Some(user) = container::load(&engine.storage, &id)? {
                remove::remove(engine, &user, how)?;
            }
        }
    }
    Ok(())
}

fn in_use(name: &Name, users: &[ContainerId]) -> Error {
    let users: Vec<&str> = users.iter().map(ContainerId::as_str).collect();
    Error::new(
        Kind::InUse,
        format!(
            "volume {name} is being used by the following container(s): {}: volume is being used",
            users.join(", ")
        ),
    )
}
